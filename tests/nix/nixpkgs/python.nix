# Python and its packages. All wheels lie in the Debian tree, where its Python finds them: every name in
# python3Packages is that one Python.
{ lib, mkDerivation, debian, tools }:
let
  python3 = tools "python3" [ "python3" ] // {
    withPackages = choose: lib.head ([ python3 ] ++ map (_: python3) (choose python3Packages));
  };
  names = [
    "hatchling"
    "hypothesis"
    "packaging"
    "pydantic"
    "pyte"
    "pytest"
    "requests"
    "rich"
    "semver"
    "typer"
    "zstandard"
  ];
  python3Packages = lib.genAttrs names (_: python3) // {
    python = python3;
    # Hatchling makes the wheel; then it is unpacked, and its entry points become programs.
    buildPythonApplication =
      { dependencies ? [ ], build-system ? [ ], pyproject ? true, nativeBuildInputs ? [ ], ... }@attributes:
      mkDerivation (
        removeAttrs attributes [ "dependencies" "build-system" "pyproject" ]
        // {
          nativeBuildInputs = [ python3 ] ++ dependencies ++ build-system ++ nativeBuildInputs;
          buildPhase = "python3 -m hatchling build -t wheel";
          installPhase = "python3 ${./install-wheel.py} dist/*.whl $out ${debian}/usr/bin/python3";
          doInstallCheck = attributes.doInstallCheck or false;
        }
      );
  };
in
{
  inherit python3 python3Packages;
}
