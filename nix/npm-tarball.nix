/**
  A tarball of the registry, or GitHub's archive of a commit, as a fixed-output derivation: its hash is the lock's
  integrity, so that wherever the tarball comes from, it is that one.

  # Type

  ```
  npmTarball :: { package, registries ? { }, withNpm ? false } -> derivation
  ```

  `package` is an entry of a lock's `packages`: name, version, integrity; `github` where it is GitHub's archive.

  # Example

  ```nix
  npmTarball { inherit package; registries."@mine" = "https://npm.example.com"; }
  ```
*/
{
  lib,
  stdenvNoCC,
  nodejs,
  fetchurl,
  npmRegistry,
}:
{
  package,
  registries ? { },
  withNpm ? false,
}:
let
  name = lib.removePrefix "-" (lib.strings.sanitizeDerivationName "${package.name}-${package.version}.tgz");
  hash = package.integrity;

  # Of the scope, or the default one. [ ]: what npm knows, which is a matter of the build.
  scope = lib.head (lib.splitString "/" package.name);
  places = lib.toList (registries.${scope} or registries.default or [ ]);

  # Where every registry has it that npm's own clients were written for. Others are for `withNpm`.
  path = "${package.name}/-/${baseNameOf package.name}-${package.version}.tgz";
  variables = [
    "NIX_MIRRORS_npm"
    "NPM_CONFIG_REGISTRY"
    "npm_config_registry"
  ];
  download =
    urls:
    fetchurl {
      inherit name hash urls;
      curlOptsList = [ "--no-progress-meter" ];
      # Of the environment of whoever builds: nothing but these, proxies and NIX_CURL_FLAGS gets into a build.
      netrcImpureEnvVars = variables;
    };
in
if package ? github then
  let
    parts = lib.splitString "#" package.github;
  in
  download [ "https://codeload.github.com/${lib.head parts}/tar.gz/${lib.last parts}" ]
else if withNpm then
  stdenvNoCC.mkDerivation {
    inherit name;
    outputHash = hash;
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
    installPhase = ''
      export HOME=$NIX_BUILD_TOP npm_config_cache=$NIX_BUILD_TOP/npm npm_config_update_notifier=false
      # Where Nix shows its own `ssl-cert-file` to builds with a network: an authority of a company's is in there.
      authorities=/etc/ssl/certs/ca-certificates.crt
      if [ -z "''${NODE_EXTRA_CA_CERTS:-}" ] && [ -s $authorities ]; then
        export NODE_EXTRA_CA_CERTS=$authorities
      fi
      mkdir got
      npm pack --loglevel=error --no-progress --pack-destination got ${
        lib.escapeShellArgs (
          # npm asks one registry, and not the next where that fails.
          lib.optional (places != [ ]) (
            if registries ? ${scope} then "--${scope}:registry=${lib.head places}" else "--registry=${lib.head places}"
          )
          ++ [ "${package.name}@${package.version}" ]
        )
      }
      mv got/*.tgz "$out"
    '';
    preferLocalBuild = true;
  }
else if places != [ ] then
  download (map (place: "${lib.removeSuffix "/" place}/${path}") places)
else
  (download [ "mirror://npm/${path}" ]).overrideAttrs { mirrorsFile = npmRegistry; }
