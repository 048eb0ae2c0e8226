{
  description = "A stand-in for nixpkgs: what this project uses of it, made of Debian packages and wheels";

  outputs =
    { self }:
    {
      lib = import ./lib.nix;
      # Every system evaluates; only x86_64-linux builds.
      legacyPackages = self.lib.genAttrs (self.lib.platforms.unix) (
        system: import ./. { inherit system; }
      );
    };
}
