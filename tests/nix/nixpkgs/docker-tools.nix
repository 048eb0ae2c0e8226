# nixpkgs' dockerTools, as far as it is used. streamLayeredImage: a program that writes an image to its standard output,
# in the form that `docker load` takes; a layer for each store path, and one for what is to be at the top.
{
  lib,
  bash,
  coreutils,
  debian,
  mkDerivation,
  runCommand,
  runtimeShell,
  writeText,
}:
let
  links =
    name: place: target:
    runCommand name { } ''
      mkdir -p "$out/$(dirname ${place})"
      ln -s ${target} $out/${place}
    '';
in
{
  binSh = links "bin-sh" "bin/sh" "${bash}/bin/bash";
  usrBinEnv = links "usr-bin-env" "usr/bin/env" "${coreutils}/bin/env";
  # Debian's certificates are not in the tree.
  caCertificates = runCommand "ca-certificates" { } ''
    mkdir -p $out/etc/ssl/certs
    touch $out/etc/ssl/certs/ca-bundle.crt
  '';

  streamLayeredImage =
    {
      name,
      tag,
      contents,
      extraCommands,
      config,
    }:
    let
      # A tar file, since the store keeps no modes.
      top = runCommand "${name}-top.tar" { } ''
        mkdir top
        cd top
        for directory in ${toString contents}; do
          cp --recursive --no-clobber --symbolic-link $directory/. .
          find . -type d -exec chmod u+w {} +
        done
        ${extraCommands}
        tar --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner -cf $out .
      '';
      image = writeText "${name}.json" (
        builtins.toJSON {
          inherit config top;
          tag = "${name}:${tag}";
        }
      );
    in
    mkDerivation {
      name = "stream-${name}";
      # Its file has all store paths that the image needs.
      exportReferencesGraph = [
        "graph"
        image
      ];
      buildCommand = ''
        grep '^/nix/store/' graph | sort -u | grep -vxF ${image} >paths
        {
          echo '#!${runtimeShell}'
          echo "exec ${debian}/usr/bin/python3 ${./stream-image.py} ${image} $(tr '\n' ' ' <paths)"
        } >$out
        chmod +x $out
      '';
      meta.mainProgram = "stream-${name}";
    };
}
