
// Programs out of npm that OpenCode itself starts: MCP servers, formatters and language servers as `npx NAME` and the
// like, for which the cache has a tree, and the npm tools. What a shell of the agent starts is left alone.
const RUNNERS = [["npx"], ["bunx"], ["pnpx"], ["npm", "exec"], ["npm", "x"], ["pnpm", "dlx"], ["yarn", "dlx"], ["bun", "x"]]
const SPEC = /^((?:@[\w.~-]+\/)?[\w~-][\w.~-]*)(@[\w.^~<>=*+-]+)?$/
const trees = join(cache, @@{trees})
const treeOf = (spec) => join(trees, @@{tree})

// As `config/commands.py` takes such a command apart; undefined for another, and no `place` where it cannot be told.
function fetched([program, ...words]) {
  const command = [basename(String(program)), ...words]
  const runner = RUNNERS.find((runner) => runner.every((word, index) => command[index] === word))
  if (!runner) return
  const rest = command.slice(runner.length)
  let spec, named
  while (rest[0]?.startsWith("-")) {
    const [option, value] = rest.shift().split(/=(.*)/s)
    if (option === "--") break
    if (!["-p", "--package"].includes(option)) continue
    if (spec) return {} // several packages
    spec = value ?? rest.shift()
  }
  if (spec) named = rest[0] === "--" ? (rest.shift(), rest.shift()) : rest.shift()
  else {
    if (rest[0] === "--") rest.shift()
    spec = rest.shift()
    if (runner[0] === "npm" && rest[0] === "--") rest.shift()
  }
  const [, name] = SPEC.exec(spec ?? "") ?? []
  return name ? { place: join(treeOf(spec), "node_modules", name), name, named, rest } : {}
}

;(() => {
  const { realpathSync } = fs
  if (!existsSync(trees)) return

  // npm's choice of a package's program (libnpmexec `get-bin-from-manifest.js`, npm 11).
  function script({ place, name, named }) {
    const { bin } = JSON.parse(readFileSync(join(place, "package.json"), "utf8"))
    const short = name.split("/").pop()
    if (typeof bin === "string") return named && named !== short ? undefined : join(place, bin)
    const names = Object.keys(bin ?? {})
    const single = new Set(Object.values(bin ?? {})).size === 1 ? names[0] : undefined
    const chosen = named ?? single ?? short
    return bin?.[chosen] && join(place, bin[chosen])
  }

  function fromCache(command, env) {
    const wanted = fetched(command)
    let file, rest
    if (wanted?.place && existsSync(wanted.place)) [file, rest] = [script(wanted), wanted.rest]
    else if (String(command[0]).startsWith("/") && existsSync(command[0])) {
      file = realpathSync(command[0])
      rest = command.slice(1)
      if (!file.startsWith(realpathSync(trees) + "/")) return
    }
    if (!file) return
    const isNodes = /^#!.*\bnode\b/.test(readFileSync(file, "latin1").slice(0, 80)) || /\.[cm]?js$/.test(file)
    if (!isNodes) return wanted && { command: [file, ...rest] }
    const node = Bun.which("node", { PATH: env.PATH ?? "" })
    if (node) return wanted && { command: [node, file, ...rest] }
    // The Bun that OpenCode is made of runs them as well.
    return { command: [process.execPath, file, ...rest], env: { BUN_BE_BUN: "1" } }
  }

  for (const name of ["spawn", "spawnSync"]) {
    const start = Bun[name]
    Bun[name] = (first, second) => {
      const [command, options] = Array.isArray(first) ? [first, second] : [first.cmd, first]
      let found
      try {
        found = fromCache(command, options?.env ?? started)
      } catch {} // then it starts as it is written
      if (!found) return start.call(Bun, first, second)
      const { cmd, argv0, ...others } = options ?? {}
      return start.call(Bun, found.command, { ...others, env: { ...(others.env ?? started), ...found.env } })
    }
  }

  // OpenCode starts the TypeScript server where it finds the project's TypeScript. Where there is none, the server's own.
  const nodeModule = require("node:module")
  const { createRequire } = nodeModule
  nodeModule.createRequire = (from) => {
    const made = createRequire(from)
    const { resolve } = made
    made.resolve = Object.assign((id, ...rest) => {
      try {
        return resolve.call(made, id, ...rest)
      } catch (error) {
        const own = join(treeOf("typescript-language-server"), "node_modules", String(id))
        if (/^typescript\/lib\//.test(id) && existsSync(own)) return own
        throw error
      }
    }, resolve)
    return made
  }
})()
