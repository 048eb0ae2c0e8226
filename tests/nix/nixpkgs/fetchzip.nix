# nixpkgs' fetchzip: an archive, unpacked; the hash is that of the tree.
{ fetchurl, unzip }:
{
  url,
  hash,
  name ? "source",
  stripRoot ? true,
}:
fetchurl {
  inherit url hash name;
  recursiveHash = true;
  nativeBuildInputs = [ unzip ];
  postFetch = ''
    mkdir unpacked
    case $url in
    *.zip) unzip -q "$downloadedFile" -d unpacked ;;
    *) tar -xzf "$downloadedFile" -C unpacked ;;
    esac
    if [ "${if stripRoot then "1" else ""}" ]; then mv unpacked/* "$out"; else mv unpacked "$out"; fi
  '';
}
