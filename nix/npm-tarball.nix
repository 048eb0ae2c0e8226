# npmTarball : { package, mirror ? null } -> derivation whose output is the tarball, checked against the lock.
#
# `package` is an entry of a lock's `packages`: name, version, integrity; `github` where it is GitHub's archive. npm downloads it by name, so the registry
# is npm's own configuration: its default, or NPM_CONFIG_REGISTRY and proxies in the environment of whoever builds
# (of the Nix daemon, where there is one). `mirror` is a registry's URL instead, for Nix's own downloader.
{
  lib,
  stdenvNoCC,
  nodejs,
  fetchurl,
}:
{
  package,
  mirror ? null,
}:
let
  name = lib.removePrefix "-" (lib.strings.sanitizeDerivationName "${package.name}-${package.version}.tgz");
  file = "${baseNameOf package.name}-${package.version}.tgz";
in
if package ? github then
  let
    parts = lib.splitString "#" package.github;
  in
  fetchurl {
    inherit name;
    url = "https://codeload.github.com/${lib.head parts}/tar.gz/${lib.last parts}";
    hash = package.integrity;
  }
else if mirror != null then
  fetchurl {
    inherit name;
    url = "${lib.removeSuffix "/" mirror}/${package.name}/-/${file}";
    hash = package.integrity;
  }
else
  stdenvNoCC.mkDerivation {
    inherit name;
    outputHash = package.integrity;
    outputHashMode = "flat";
    impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [
      "NODE_EXTRA_CA_CERTS"
      "NPM_CONFIG_REGISTRY"
      "NPM_CONFIG_USERCONFIG"
      "npm_config_registry"
      "npm_config_userconfig"
    ];
    nativeBuildInputs = [ nodejs ];
    dontUnpack = true;
    dontFixup = true;
    spec = "${package.name}@${package.version}";
    installPhase = ''
      export HOME=$NIX_BUILD_TOP npm_config_cache=$NIX_BUILD_TOP/npm npm_config_update_notifier=false
      # Where Nix shows its own `ssl-cert-file` to builds with a network: an authority of a company's is in there.
      authorities=/etc/ssl/certs/ca-certificates.crt
      if [ -z "''${NODE_EXTRA_CA_CERTS:-}" ] && [ -s $authorities ]; then
        export NODE_EXTRA_CA_CERTS=$authorities
      fi
      mkdir got
      npm pack --loglevel=error --pack-destination got "$spec"
      mv got/*.tgz "$out"
    '';
    preferLocalBuild = true;
  }
