# The ELF interpreter for OpenCode's release binary.
#
# Bun binaries stand no rpath, and the file watcher inside needs libstdc++ at run time. LD_LIBRARY_PATH would reach
# the agent's commands, which are not Nix's. So glibc's own loader is copied with the directory that it searches by
# itself turned to this one, where libstdc++ lies beside glibc's libraries. The two paths have the same length since
# the two derivations have names of the same length (nixpkgs' replaceDependencies works in this way), and this one has
# no version: what looks for old versions of glibc by name finds glibc, and not its copy.
{
  lib,
  stdenv,
  runCommand,
}:
let
  loader = stdenv.cc.bintools.dynamicLinker;
  length = lib.stringLength stdenv.cc.libc.name;
  name = lib.substring 0 length "opencode-loader-${lib.concatStrings (lib.genList (_: "x") length)}";
in
runCommand name
  {
    meta.platforms = lib.platforms.linux;
  }
  ''
    loader=${loader}
    theirs=$(dirname "$loader")
    mkdir -p $out/lib
    if grep -qF "$theirs/" "$loader" && [ "''${#theirs}" = "$(printf %s "$out/lib" | wc -c)" ]; then
      for library in "$theirs"/*.so*; do ln -s "$library" $out/lib/; done
      for library in ${stdenv.cc.cc.lib}/lib/libstdc++.so.6 ${stdenv.cc.cc.lib}/lib/libgcc_s.so.1; do
        ln -sf "$library" $out/lib/
      done
      rm $out/lib/"$(basename "$loader")"
      sed "s|$theirs/|$out/lib/|g" "$loader" >$out/lib/"$(basename "$loader")"
      chmod +x $out/lib/"$(basename "$loader")"
    else
      # A loader that searches outside the store finds libstdc++ there as well.
      ln -s "$loader" $out/lib/
    fi
  ''
