"use strict"
// Loaded into OpenCode before its own code (Bun's BUN_INSPECT_PRELOAD; tried on 1.0.61, 1.3.2, 1.14.34 and 1.18.33), so
// that what the wrapper adds to the environment serves OpenCode and nobody else: its children get the user's own.
// `process.env` stays as it is: OpenCode reads its switches, and npm's settings, at any time.
const fs = require("node:fs")
const { existsSync, readFileSync } = fs
const { basename, dirname, extname, join, resolve } = require("node:path")
const { isMainThread } = require("node:worker_threads")

const cache = @@{cache}

const USERS = "OPENCODE_CACHE_USER_" // + name: a value that the wrapper had to replace
// With these, a command that the agent runs could ask the server for what the agent itself may not do.
const SECRETS = ["OPENCODE_SERVER_PASSWORD", "OPENCODE_SERVER_USERNAME"]
const started = { ...process.env }
const ours = new Set(["OPENCODE_CACHE_SET", ...SECRETS, ...(started.OPENCODE_CACHE_SET ?? "").split(" ")])

function usersOwn(given, [command, word]) {
  const env = { ...given }
  // OpenCode 2.x starts itself as its server, which does what the settings are for.
  if (command === process.execPath && word === "serve") return env
  // OpenCode 1.0 starts itself as `bun add`, and up to 1.3 it asks `npm list` how it was installed, and `npm config`
  // where from: npm's and Bun's settings are meant for these. What the agent runs is a shell's; an MCP server may be
  // `npm exec`.
  const asks = basename(String(command)) === "npm" && ["list", "config"].includes(word)
  const manager = env.BUN_BE_BUN !== undefined || asks
  for (const name of ours) {
    const kept = manager && /^(BUN_CONFIG|npm_config)_/.test(name)
    if (!kept && env[name] === started[name]) delete env[name]
  }
  for (const name of Object.keys(env)) {
    if (!name.startsWith(USERS)) continue
    env[name.slice(USERS.length)] ??= env[name]
    delete env[name]
  }
  return env
}

// node:child_process ends here too. Without `env`, Bun gives a child what the process was started with.
const withUsersOwn = (options, command) => ({ ...options, env: usersOwn(options?.env ?? started, command) })
for (const name of ["spawn", "spawnSync"]) {
  const start = Bun[name]
  Bun[name] = (first, second) =>
    Array.isArray(first)
      ? start.call(Bun, first, withUsersOwn(second, first))
      : start.call(Bun, withUsersOwn(first, first.cmd))
}

const ffi = require("bun:ffi")
const { dlopen } = ffi
const C = {
  getenv: { args: ["cstring"], returns: "ptr" },
  memfd_create: { args: ["cstring", "int"], returns: "int" },
  strlen: { args: ["ptr"], returns: "usize" },
  unsetenv: { args: ["cstring"], returns: "int" },
}
function libc(...functions) {
  const musl = `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`
  for (const name of process.platform === "darwin" ? ["libSystem.B.dylib"] : ["libc.so.6", musl]) {
    try {
      return dlopen(name, Object.fromEntries(functions.map((one) => [one, C[one]]))).symbols
    } catch {} // the other one
  }
}
const text = (words) => Buffer.from(words.map((word) => `${word}\0`).join(""))

if (SECRETS.some((name) => name in started)) {
  // A plugin's `$`, which starts its commands in another way.
  Bun.$.env(Object.fromEntries(Object.entries(started).filter(([name]) => !SECRETS.includes(name))))
  // What the kernel shows to the same user (`/proc/PID/environ`) is the memory that the process was started with.
  const system = isMainThread && libc("getenv", "strlen")
  for (const name of system ? SECRETS.filter((name) => started[name]) : []) {
    process.env[name] = started[name] = Buffer.from(started[name]).toString()
    const value = system.getenv(text([name]))
    if (value) new Uint8Array(ffi.toArrayBuffer(value, 0, Number(system.strlen(value)))).fill("*".charCodeAt())
  }
}

// The web terminal (`POST /pty`, from 1.3 on) has a library of its own for that, bun-pty (`src/terminal.ts`): it is given
// `NAME=value` and a NUL for each variable, and adds these to what the process itself has.
ffi.dlopen = (path, wanted) => {
  const library = whereItMayBeMapped(path, (at) => dlopen(at, wanted))
  const start = library.symbols.bun_pty_spawn
  if (!start) return library
  const system = libc("unsetenv")
  const bun_pty_spawn = (command, cwd, env, ...rest) => {
    const pairs = String(env).split("\0").filter(Boolean)
    const given = Object.fromEntries(pairs.map((pair) => /^([^]*?)=([^]*)$/.exec(pair).slice(1)))
    const kept = usersOwn(given, [command])
    for (const name of Object.keys(started)) if (!(name in kept)) system?.unsetenv(text([name]))
    return start(command, cwd, text(Object.entries(kept).map((pair) => pair.join("="))), ...rest)
  }
  return { ...library, symbols: { ...library.symbols, bun_pty_spawn } }
}

// OpenCode 1.14 to 1.18 writes a `.gitignore` into each config directory, forgives a lack of permission, and ends on a
// read-only file system (`config/config.ts`; tried on 1.18.3 and 1.18.33).
const { writeFile } = fs
fs.writeFile = (path, ...rest) => {
  const done = rest.pop()
  const forgiven = (error) => {
    if (error?.code === "EROFS" && basename(String(path)) === ".gitignore") error.code = "EACCES"
    done(error)
  }
  writeFile(path, ...rest, typeof done === "function" ? forgiven : done)
}

// The grammars in the cache. OpenTUI takes a local path where a parser has a URL (`download-utils.ts`; tried on 1.18.33
// and 1.0.61), so nothing of ours has to stand in the user's data directory.
let files
function fromCache(parser) {
  const index = join(cache, "tree-sitter", "files.json")
  files ??= existsSync(index) ? JSON.parse(readFileSync(index, "utf8")) : {}
  const local = (url) => {
    const file = files[parser.filetype]?.[url]
    return file ? join(cache, "tree-sitter", file) : url
  }
  const queries = Object.entries(parser.queries).map(([kind, urls]) => [kind, urls?.map(local)])
  return { ...parser, wasm: local(parser.wasm), queries: Object.fromEntries(queries) }
}

// Texts that the configuration names by address. Their index has the digest of each (`formats/urls.py`).
const index = join(cache, "urls", "files.json")
if (existsSync(index)) {
  const digests = Object.entries(JSON.parse(readFileSync(index, "utf8")))
  const texts = new Map(digests.map(([url, digest]) => [new URL(url).href, join(cache, "urls", digest)]))
  const { fetch } = globalThis
  const answer = async (request, init) => {
    const text = texts.get(String(request?.url ?? request).replace(/#.*/, ""))
    const method = init?.method ?? request?.method ?? "GET"
    return text && method === "GET" ? new Response(readFileSync(text)) : fetch(request, init)
  }
  globalThis.fetch = Object.assign(answer, fetch)
}

// The TUI's server is a thread, and threads do not inherit what is preloaded.
const Thread = globalThis.Worker
globalThis.Worker = class Worker extends Thread {
  constructor(url, options) {
    super(url, { ...options, preload: [__filename, ...[options?.preload ?? []].flat()] })
  }

  postMessage(message, ...rest) {
    const isParser = message?.type === "ADD_FILETYPE_PARSER"
    super.postMessage(isParser ? { ...message, filetypeParser: fromCache(message.filetypeParser) } : message, ...rest)
  }
}

// The user's own, which the wrapper had to replace by this file.
const own = started[USERS + "BUN_INSPECT_PRELOAD"]
if (own && isMainThread) require(resolve(own))

// A config directory (a project's `.opencode`, the user's own, OPENCODE_CONFIG_DIR) has no node_modules where OpenCode
// could not install them: its plugins and tools get what they import, and cannot find, from the cache. (Bun asks no
// onResolve hook about a bare name.)
const config = join(cache, "config")
const resolved = (name, from) => {
  try {
    return Bun.resolveSync(name, from)
  } catch {
    return undefined
  }
}
if (existsSync(join(config, "node_modules"))) {
  const { HOME, OPENCODE_CONFIG_DIR, XDG_CONFIG_HOME } = started
  const usersConfig = XDG_CONFIG_HOME || (HOME && join(HOME, ".config"))
  const places = [usersConfig && join(usersConfig, "opencode"), OPENCODE_CONFIG_DIR && resolve(OPENCODE_CONFIG_DIR)]
  const there = places.filter((path) => path && existsSync(path)).flatMap((path) => {
    try {
      return [path, fs.realpathSync(path)]
    } catch {
      return [path] // Bun takes a backslash for a slash there
    }
  })
  const directories = ["/(?:.*/)?\\.opencode", ...there.map((path) => path.replace(/[^\w/]/g, "\\$&"))].join("|")
  const filter = new RegExp(`^(?:${directories})/(?!(.*/)?node_modules/).*\\.[cm]?[jt]sx?$`)
  const imported = /(\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(["'])([@\w][^"':\n]*)\2/g
  // OpenCode 1.14 to 1.18 would install into such a directory in the background where it may write there and has not yet
  // (`npm/index.ts`; tried on 1.14.34 and 1.18.33): with the plugin API and all that package.json names in the cache, it
  // is told that it may not. The user's own gets links by the wrapper.
  const isServed = (path) => {
    if (existsSync(join(path, "node_modules"))) return false
    const listed = join(path, "package.json")
    const { dependencies = {} } = existsSync(listed) ? JSON.parse(readFileSync(listed, "utf8")) : {}
    return Object.keys(dependencies).every((name) => existsSync(join(config, "node_modules", name)))
  }
  const { access } = fs
  fs.access = (path, mode, done) => {
    const asksToWrite = typeof mode === "number" && mode & fs.constants.W_OK && ours.has("npm_config_fetch_retries")
    try {
      if (asksToWrite && (basename(String(path)) === ".opencode" || String(path) === places[1]) && isServed(String(path)))
        return void queueMicrotask(() => done(Object.assign(new Error("the cache has it"), { code: "EACCES" })))
    } catch {} // a package.json that is none is OpenCode's to tell
    access(path, mode, done)
  }
  Bun.plugin({
    name: "opencode-cache",
    setup(build) {
      build.onLoad({ filter }, ({ path }) => ({
        contents: readFileSync(path, "utf8").replace(imported, (text, before, _, name) => {
          const file = resolved(name, dirname(path)) ? undefined : resolved(name, config)
          return file ? before + JSON.stringify(file) : text
        }),
        loader: extname(path).replace(/^\.[cm]?/, ""),
      }))
    },
  })
}
