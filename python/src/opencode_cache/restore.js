"use strict"
// Loaded into OpenCode before its own code (Bun's BUN_INSPECT_PRELOAD; tried on 1.18.33 and 1.0.61), so that what the
// wrapper adds to the environment serves OpenCode and nobody else: its children get the user's own.
// `process.env` stays as it is: OpenCode reads its switches, and npm's settings, at any time.
const { existsSync, readFileSync } = require("node:fs")
const { dirname, extname, join } = require("node:path")

const USERS = "OPENCODE_CACHE_USER_" // + name: a value that the wrapper had to replace
const started = { ...process.env }
const ours = new Set(["OPENCODE_CACHE_SET", ...(started.OPENCODE_CACHE_SET ?? "").split(" ")])

function usersOwn(given) {
  const env = { ...given }
  // OpenCode 1.0 starts itself as `bun add`; npm's and Bun's settings are meant for that.
  const bun = env.BUN_BE_BUN !== undefined
  for (const name of ours) {
    const kept = bun && /^(BUN_CONFIG|npm_config)_/.test(name)
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
const mended = (options) => ({ ...options, env: usersOwn(options?.env ?? started) })
for (const name of ["spawn", "spawnSync"]) {
  const start = Bun[name]
  Bun[name] = (first, second) =>
    Array.isArray(first) ? start.call(Bun, first, mended(second)) : start.call(Bun, mended(first))
}

// The TUI's server is a thread, and threads do not inherit what is preloaded.
const Thread = globalThis.Worker
globalThis.Worker = class Worker extends Thread {
  constructor(url, options) {
    super(url, { ...options, preload: [__filename, ...[options?.preload ?? []].flat()] })
  }
}

// A project's `.opencode` has no node_modules where OpenCode could not install them: its plugins and tools get
// what they import, and cannot find, from the cache. (Bun asks no onResolve hook about a bare name.)
const cached = join(__dirname, "packages", "config")
const resolved = (name, from) => {
  try {
    return Bun.resolveSync(name, from)
  } catch {
    return undefined
  }
}
if (existsSync(join(cached, "node_modules"))) {
  const imported = /(\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(["'])([@\w][^"':\n]*)\2/g
  Bun.plugin({
    name: "opencode-cache",
    setup(build) {
      build.onLoad({ filter: /\/\.opencode\/(?!(.*\/)?node_modules\/).*\.[cm]?[jt]sx?$/ }, ({ path }) => ({
        contents: readFileSync(path, "utf8").replace(imported, (text, before, _, name) => {
          const found = resolved(name, dirname(path)) ? undefined : resolved(name, cached)
          return found ? before + JSON.stringify(found) : text
        }),
        loader: extname(path).replace(/^\.[cm]?/, ""),
      }))
    },
  })
}
