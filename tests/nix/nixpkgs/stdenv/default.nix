# stdenv.mkDerivation: attributes, or a function of the final ones -> a derivation that ./setup.sh builds.
{ lib, system, debian }:
let
  derive =
    final:
    let
      name = final.name or "${final.pname}-${final.version}";
      environment = removeAttrs final [ "meta" "passthru" "env" "finalPackage" ];
      built = derivation (
        environment
        // final.env or { }
        // {
          inherit name debian;
          system = final.system or system;
          builder = "${debian}/usr/bin/bash";
          args = [ "-e" ./setup.sh ];
        }
      );
    in
    lib.withAttributes built (
      final.passthru or { }
      // {
        inherit name;
        meta = {
          inherit name;
          available = true;
        } // final.meta or { };
        passthru = final.passthru or { };
      }
      // lib.filterAttrs (key: _: key == "pname" || key == "version") final
    );
  make =
    f:
    let
      final = f (final // { finalPackage = package; });
      package = derive final // {
        overrideAttrs =
          change:
          make (
            self:
            let
              previous = f self;
              first = change self;
              changed =
                if !lib.isFunction change then
                  change
                else if lib.isFunction first then
                  first previous
                else
                  change previous;
            in
            previous // changed
          );
      };
    in
    package;
in
argument: make (if lib.isFunction argument then argument else _: argument)
