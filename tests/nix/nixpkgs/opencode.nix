# OpenCode as nixpkgs has it: a program behind a wrapper that puts ripgrep first, and shell completions. The bits are
# npm's. (nixpkgs' wrapper is a compiled one; the stand-in has no compiler.)
{ stdenv, mkDerivation, patchelf, ripgrep, runtimeShell, src, version }:
mkDerivation {
  pname = "opencode";
  inherit version src;
  nativeBuildInputs = [ patchelf ];
  buildCommand = ''
    tar -xzf $src package/bin/opencode
    install -Dm755 package/bin/opencode $out/bin/.opencode-wrapped
    patchelf --set-interpreter ${stdenv.cc.bintools.dynamicLinker} $out/bin/.opencode-wrapped
    {
      echo "#!${runtimeShell}"
      echo 'export PATH="${ripgrep}/bin:$PATH"'
      echo "exec -a \"\$0\" $out/bin/.opencode-wrapped \"\$@\""
    } >$out/bin/opencode
    chmod +x $out/bin/opencode
    export HOME=$PWD
    mkdir -p $out/share/bash-completion/completions
    SHELL=/bin/bash $out/bin/opencode completion >$out/share/bash-completion/completions/opencode
  '';
  meta.mainProgram = "opencode";
}
