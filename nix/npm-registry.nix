/**
  A file for nixpkgs' fetchurl, its `mirrorsFile`: where `mirror://npm/…` is.

  That is NPM_CONFIG_REGISTRY in the environment of whoever builds (of the Nix daemon, where there is one), or the
  registry that the npm in nixpkgs knows without any configuration, asked here once.
*/
{ runCommand, nodejs }:
runCommand "npm-registry"
  {
    nativeBuildInputs = [ nodejs ];
    preferLocalBuild = true;
  }
  ''
    unset NPM_CONFIG_REGISTRY npm_config_registry
    export HOME=$NIX_BUILD_TOP npm_config_update_notifier=false
    registry=$(npm config get registry --userconfig "$PWD/user" --globalconfig "$PWD/global")
    case $registry in
    https://?*) ;;
    *)
      echo "npm says that its registry is '$registry', which is no address; give one as registries.default" >&2
      exit 1
      ;;
    esac
    cat >$out <<END
    npm=\''${NPM_CONFIG_REGISTRY:-\''${npm_config_registry:-$registry}}
    npm=\''${npm%/}/
    END
  ''
