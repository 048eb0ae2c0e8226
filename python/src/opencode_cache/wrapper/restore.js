"use strict"
// Loaded into OpenCode before its own code (Bun's BUN_INSPECT_PRELOAD; tried on 1.18.33 and 1.0.61), so that what the
// wrapper adds to the environment serves OpenCode and nobody else: its children get the user's own.
// `process.env` stays as it is: OpenCode reads its switches, and npm's settings, at any time.
const fs = require("node:fs")
const { existsSync, readFileSync } = fs
const { basename, dirname, extname, join, resolve } = require("node:path")
const { isMainThread } = require("node:worker_threads")

const USERS = "OPENCODE_CACHE_USER_" // + name: a value that the wrapper had to replace
const started = { ...process.env }
const ours = new Set(["OPENCODE_CACHE_SET", ...(started.OPENCODE_CACHE_SET ?? "").split(" ")])

function usersOwn(given, [command, word]) {
  const env = { ...given }
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
const mended = (options, command) => ({ ...options, env: usersOwn(options?.env ?? started, command) })
for (const name of ["spawn", "spawnSync"]) {
  const start = Bun[name]
  Bun[name] = (first, second) =>
    Array.isArray(first) ? start.call(Bun, first, mended(second, first)) : start.call(Bun, mended(first, first.cmd))
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
let grammars
function fromCache(parser) {
  grammars ??= ["bun", "packages"].flatMap((layout) => {
    const directory = join(__dirname, layout, "tree-sitter")
    const index = join(directory, "files.json")
    return existsSync(index) ? [{ directory, languages: JSON.parse(readFileSync(index, "utf8")) }] : []
  })
  const place = (url) => {
    const from = grammars.find(({ languages }) => languages[parser.filetype]?.[url])
    return from ? join(from.directory, from.languages[parser.filetype][url]) : url
  }
  const queries = Object.entries(parser.queries).map(([kind, urls]) => [kind, urls?.map(place)])
  return { ...parser, wasm: place(parser.wasm), queries: Object.fromEntries(queries) }
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
const cached = join(__dirname, "packages", "config")
const resolved = (name, from) => {
  try {
    return Bun.resolveSync(name, from)
  } catch {
    return undefined
  }
}
if (existsSync(join(cached, "node_modules"))) {
  const { HOME, OPENCODE_CONFIG_DIR, XDG_CONFIG_HOME } = started
  const own = [XDG_CONFIG_HOME || (HOME && join(HOME, ".config"))].map((path) => path && join(path, "opencode"))
  const places = [...own, OPENCODE_CONFIG_DIR && resolve(OPENCODE_CONFIG_DIR)].filter((path) => path && existsSync(path))
  const patterns = places.flatMap((path) => [path, fs.realpathSync(path)]).map((path) => path.replace(/[^\w/]/g, "\\$&"))
  const directories = ["/(?:.*/)?\\.opencode", ...patterns].join("|")
  const filter = new RegExp(`^(?:${directories})/(?!(.*/)?node_modules/).*\\.[cm]?[jt]sx?$`)
  const imported = /(\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(["'])([@\w][^"':\n]*)\2/g
  Bun.plugin({
    name: "opencode-cache",
    setup(build) {
      build.onLoad({ filter }, ({ path }) => ({
        contents: readFileSync(path, "utf8").replace(imported, (text, before, _, name) => {
          const found = resolved(name, dirname(path)) ? undefined : resolved(name, cached)
          return found ? before + JSON.stringify(found) : text
        }),
        loader: extname(path).replace(/^\.[cm]?/, ""),
      }))
    },
  })
}
