/**
  The ways of writing in `opencode.json` what a lock has a request for.

  # Type

  ```
  spellings :: { lib } -> { spec, name, requested } -> [ string ]
  ```

  `requested` is what stands behind the name, "latest" for a bare one.

  # Example

  ```nix
  spellings { inherit lib; } { spec = "some"; name = "some"; requested = "latest"; }
  => [ "some" "some@latest" "some" ]
  ```
*/
{ lib }:
request:
[
  request.spec
  "${request.name}@${request.requested}"
]
++ lib.optional (request.requested == "latest") request.name
