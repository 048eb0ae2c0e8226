# OpenCode as nixpkgs has it: a program that runs, and shell completions. The bits are npm's.
{ stdenv, mkDerivation, patchelf, src, version }:
mkDerivation {
  pname = "opencode";
  inherit version src;
  nativeBuildInputs = [ patchelf ];
  buildCommand = ''
    tar -xzf $src package/bin/opencode
    install -Dm755 package/bin/opencode $out/bin/opencode
    patchelf --set-interpreter ${stdenv.cc.bintools.dynamicLinker} $out/bin/opencode
    export HOME=$PWD
    mkdir -p $out/share/bash-completion/completions
    SHELL=/bin/bash $out/bin/opencode completion >$out/share/bash-completion/completions/opencode
  '';
  meta.mainProgram = "opencode";
}
