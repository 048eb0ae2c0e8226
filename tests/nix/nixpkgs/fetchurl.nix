# nixpkgs' fetchurl, as far as it is used: curl, `mirror://SITE/…` by `mirrorsFile`, and the variables that get in.
{
  lib,
  mkDerivation,
  curl,
  runCommand,
}:
{
  url ? "",
  urls ? lib.optional (url != "") url,
  hash,
  name ? baseNameOf (lib.head urls),
  curlOptsList ? [ ],
  netrcImpureEnvVars ? [ ],
  recursiveHash ? false,
  postFetch ? "",
  nativeBuildInputs ? [ ],
}:
mkDerivation {
  inherit name urls postFetch;
  curlOptsList = lib.escapeShellArgs curlOptsList;
  nativeBuildInputs = [ curl ] ++ nativeBuildInputs;
  mirrorsFile = runCommand "mirrors-list" { } "touch $out";
  outputHash = hash;
  outputHashMode = if recursiveHash then "recursive" else "flat";
  impureEnvVars = lib.fetchers.proxyImpureEnvVars ++ [ "NIX_CURL_FLAGS" ] ++ netrcImpureEnvVars;
  preferLocalBuild = true;
  buildCommand = ''
    source $mirrorsFile
    eval "options=($curlOptsList)"
    downloadedFile=$NIX_BUILD_TOP/downloaded
    for url in $urls; do
      case $url in
      mirror://*)
        rest=''${url#mirror://}
        site=''${rest%%/*} override=NIX_MIRRORS_''${rest%%/*}
        places=''${!override:-''${!site:-}}
        ;;
      *) rest=/$url places= ;;
      esac
      for place in ''${places:-""}; do
        echo "trying $place''${rest#*/}"
        if curl --location --retry 3 --fail --insecure "''${options[@]}" ''${NIX_CURL_FLAGS:-} \
          --output "$downloadedFile" "$place''${rest#*/}"; then
          if [ -n "$postFetch" ]; then eval "$postFetch"; else mv "$downloadedFile" "$out"; fi
          exit 0
        fi
      done
    done
    echo "error: cannot download $name from any mirror" >&2
    exit 1
  '';
}
