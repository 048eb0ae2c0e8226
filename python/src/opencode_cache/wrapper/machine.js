
// Machines as they are: a directory for temporary files that is mounted noexec, a home that cannot be written to, or none.

// Bun unpacks OpenCode's native parts into `$TMPDIR/.<hash>-<number>.so`, megabytes for each run, and leaves them
// there; where nothing in that directory may be mapped, the interface does not start (both tried on 1.0.61 and 1.18.33).
// What this process has mapped goes; what cannot be mapped there is loaded from memory.
function whereItMayBeMapped(path, load) {
  if (process.platform !== "linux" || !String(path).startsWith("/$bunfs/")) return load(path)
  let library
  try {
    library = load(path)
  } catch (error) {
    return fromMemory(path, load, error)
  }
  const mapped = readFileSync("/proc/self/maps", "utf8").match(/\/.*\/\.[0-9a-f]{16}-[0-9a-f]{8}\.so$/gm)
  for (const file of new Set(mapped)) {
    try {
      fs.unlinkSync(file)
    } catch {} // another thread has done it
  }
  return library
}

function fromMemory(path, load, error) {
  const MFD_CLOEXEC = 1
  try {
    const content = readFileSync(path)
    const file = libc("memfd_create").memfd_create(text([basename(path)]), MFD_CLOEXEC)
    for (let at = 0; at < content.length; ) at += fs.writeSync(file, content, at)
    return load(`/proc/self/fd/${file}`) // which stays open: a libc takes two libraries of one path for one
  } catch {
    throw error
  }
}

const { dlopen: loadAddon } = process
process.dlopen = (module, path, ...rest) =>
  whereItMayBeMapped(path, (at) => loadAddon.call(process, module, at, ...rest))

// OpenCode makes its data, state and config directories at the start, and ends where it cannot: in a home that is
// read-only, in `/` or without a HOME for a user whom passwd does not know. The user's own XDG_CACHE_HOME, to which
// the wrapper could write, then has room for all of them. Its children know nothing of that.
;(() => {
  const root = started.XDG_CACHE_HOME
  if (!isMainThread || !root || ours.has("XDG_CACHE_HOME")) return
  const place = join(root, "opencode-home")
  const os = require("node:os")
  let home
  try {
    home = os.homedir()
  } catch {
    os.homedir = () => place
    const [uid, gid] = [process.getuid(), process.getgid()]
    os.userInfo = () => ({ username: String(uid), uid, gid, shell: null, homedir: place })
  }
  const writable = (path) => {
    while (!existsSync(path)) path = dirname(path)
    try {
      fs.accessSync(path, fs.constants.W_OK)
      return true
    } catch {
      return false
    }
  }
  const places = { XDG_DATA_HOME: ".local/share", XDG_STATE_HOME: ".local/state", XDG_CONFIG_HOME: ".config" }
  for (const [name, below] of Object.entries(places)) {
    const usual = home && join(home, below, "opencode")
    if (started[name] || (usual && (writable(usual) || (name === "XDG_CONFIG_HOME" && existsSync(usual))))) continue
    if (name in started) process.env[USERS + name] = started[USERS + name] = started[name]
    process.env[name] = started[name] = join(place, below)
    ours.add(name)
  }
  // What the wrapper puts into a config directory that is there: OpenCode would ask the registry for it.
  const config = join(place, ".config", "opencode")
  if (process.env.XDG_CONFIG_HOME !== dirname(config)) return
  fs.mkdirSync(config, { recursive: true })
  for (const name of ["node_modules", "package-lock.json"]) {
    try {
      fs.rmSync(join(config, name), { force: true })
      if (existsSync(join(cache, "config", name))) fs.symlinkSync(join(cache, "config", name), join(config, name))
    } catch {} // a real directory, or another start at the same moment
  }
})()

// Settings for everybody who uses this installation (`bundle --preset`), where the machine has none of its own.
// OpenCode 1.18 asks for their directory each time (`config/managed.ts`).
;(() => {
  const name = "OPENCODE_TEST_MANAGED_CONFIG_DIR"
  const preset = join(dirname(__dirname), "etc", "opencode")
  const there = (directory) => ["opencode.json", "opencode.jsonc"].some((file) => existsSync(join(directory, file)))
  if (started[name] || !there(preset) || there("/etc/opencode")) return
  process.env[name] = started[name] = preset
  ours.add(name)
})()

// OpenCode's own `upgrade` would install another OpenCode, and `uninstall` takes none of this away.
;(() => {
  const words = process.argv.slice(2)
  const word = words.find((word, index) => !word.startsWith("-") && words[index - 1] !== "--log-level")
  const asked = ["upgrade", "uninstall"].indexOf(word)
  if (asked < 0 || !isMainThread || started.BUN_BE_BUN || /^(--help|-h)$/.test(words.at(-1))) return
  const [, prefix] = /^(.*)\/lib\/opencode-cache\/generations\//.exec(fs.realpathSync(__dirname)) ?? []
  const installer = `sh ${prefix}/lib/opencode-cache/current/install.sh`
  let ways = [
    "`opencode-cache install`, with the options of the first time",
    "`opencode-cache remove --user`, then `opencode-cache gc --keep 0`",
  ]
  if (__dirname.startsWith("/nix/store/")) {
    ways = ["`nix profile upgrade`, or a newer flake input", "`nix profile remove`, or take it out of your configuration"]
  } else if (prefix) {
    ways = [`get a newer bundle, then: ${installer} NEW.tar.zst ${prefix}`, `${installer} --remove ${prefix}`]
  } else if (__dirname === "/opt/opencode/libexec") {
    ways = ["take a newer image", "remove the image"]
  }
  const what = asked ? "removed" : "updated"
  process.stderr.write(
    `${@@{name}}: this installation has a cache of its own and is ${what} in another way: ${ways[asked]}\n`,
  )
  process.exit(1)
})()
