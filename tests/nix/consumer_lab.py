"""A flake that uses the project's: its text, and locks that lack something."""

from __future__ import annotations

import json

from flake_lab import EXTRA_LOCK, TOOLS_LOCK

CONSUMER = """\
{
  inputs = {
    nixpkgs.url = "@NIXPKGS@";
    opencode-cache.url = "@PROJECT@";
    opencode-cache.inputs.nixpkgs.follows = "nixpkgs";
    opencode-cache.inputs.models-dev.url = "@MODELS@";
  };
  outputs = { nixpkgs, opencode-cache, ... }:
    let
      pkgs = import nixpkgs {
        system = "x86_64-linux";
        overlays = [ opencode-cache.overlays.default ];
      };
      inherit (opencode-cache.lib) mkOpencode;
    in
    {
      packages.x86_64-linux = {
        ours = opencode-cache.packages.x86_64-linux.default;
        overlaid = pkgs.opencode-with-cache;
        # Every option in one: of what is built here, each cache costs two starts of OpenCode.
        plugged = mkOpencode {
          inherit pkgs;
          lock = ./own.lock.json;
          models = opencode-cache.inputs.models-dev;
          withTui = false;
        };
        tooled = mkOpencode { inherit pkgs; lock = ./tools.lock.json; };
        field = mkOpencode { inherit pkgs; lock = ./field.lock.json; };
        darwin = mkOpencode { pkgs = import nixpkgs { system = "x86_64-darwin"; }; };
        future = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode // { version = "3.0.1"; };
        };
        second = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode // { version = "2.0.15"; };
        };
        experiment = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode.overrideAttrs { version = "2.0.15"; };
          lock = ./two.lock.json;
          models = opencode-cache.inputs.models-dev;
        };
        without-catalogue = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode.overrideAttrs { version = "2.0.15"; };
          lock = ./two.lock.json;
        };
        lockable = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode.overrideAttrs { version = "1.17.4"; };
        };
        bare = mkOpencode {
          inherit pkgs;
          opencode = pkgs.opencode.overrideAttrs { version = "1.17.4"; };
          onUnsupported = "bare";
        };
        unsupported = pkgs.opencode.overrideAttrs { version = "1.17.4"; };
        wrong = mkOpencode { inherit pkgs; lock = ./nothing.lock.json; warmup = "models"; };
        composed =
          (import nixpkgs {
            system = "x86_64-linux";
            overlays = [
              opencode-cache.overlays.default
              (final: _: { opencode = final.opencode-with-cache; })
            ];
          }).opencode;
        changed =
          (mkOpencode { inherit pkgs; }).overrideAttrs (old: {
            pname = "${old.pname}-of-mine";
            passthru = old.passthru // { mine = true; };
          });
        changed-twice =
          ((mkOpencode { inherit pkgs; }).overrideAttrs { pname = "of-mine"; }).override { offline = false; };
        lacking = mkOpencode { inherit pkgs; lock = ./lacking.lock.json; };
        tampered = mkOpencode {
          inherit pkgs;
          lock = ./tampered.lock.json;
          mirror = "@MIRROR@";
        };
        mirrored = mkOpencode {
          inherit pkgs;
          lock = ./mirrored.lock.json;
          mirror = "@MIRROR@";
        };
        listed = mkOpencode {
          inherit pkgs;
          lock = ./mirrored.lock.json;
          registries.default = [ "http://127.0.0.1:1" "@MIRROR@/" ];
        };
        npm = mkOpencode { inherit pkgs; lock = ./mirrored.lock.json; withNpm = true; };
      };
    };
}
"""


TOOLS = {
    "@biomejs/biome": "biome",
    "oxfmt": "oxfmt",
    "prettier": "prettier",
}
"""Of the lock of all tools, those that a smaller lock has: package -> program. A program, a script that loads
a library, and a script."""


def own_lock() -> str:
    """The text of a lock of one's own: a plugin, an SDK and some tools."""
    found, other = json.loads(EXTRA_LOCK.read_text()), json.loads(TOOLS_LOCK.read_text())
    for request in other["requests"]:
        if request["name"] in TOOLS:
            found["requests"].append(request)
            found["trees"][request["tree"]] = other["trees"][request["tree"]]
    found["packages"] |= other["packages"]
    return json.dumps(with_used_packages(found))


def with_used_packages(lock: dict) -> dict:
    used = {key for nodes in lock["trees"].values() for key in nodes.values()}
    lock["packages"] = {key: package for key, package in sorted(lock["packages"].items()) if key in used}
    return lock


def without_the_config_directory(text: str) -> dict:
    """A lock that lacks what OpenCode asks for at each start: the plugin API for its config directory."""
    found = json.loads(text)
    found["requests"] = [request for request in found["requests"] if request["kind"] != "config"]
    del found["trees"]["config"]
    return with_used_packages(found)


def with_another_hash(text: str, key: str) -> dict:
    found = json.loads(text)
    found["packages"][key]["integrity"] = f"sha512-{'A' * 86}=="
    return found
