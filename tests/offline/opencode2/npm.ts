// The documented rule of OpenCode 2.x's cache directory, in small: where a spec is, what counts as installed, and when
// a registry would be asked. Written for the tests after the description in docs/how-it-works.md.
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, symlinkSync, mkdirSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

const { HOME = homedir(), XDG_CACHE_HOME, XDG_STATE_HOME } = process.env
export const cache = join(XDG_CACHE_HOME || join(HOME, ".cache"), "opencode")
export const state = join(XDG_STATE_HOME || join(HOME, ".local/state"), "opencode")
const REGISTRY = process.env.npm_config_registry ?? "http://registry.invalid"
const SHORT = /^(?<name>)(?<place>[\w-]+\/[^#]*)/
const GIT = /^(?:(?<name>(?:@[^/@]+\/)?[^/@:]+)@)?(?:github:|git\+)(?<place>[^#]*)/

function parsed(spec: string) {
  const git = GIT.exec(spec) ?? SHORT.exec(spec)
  if (git?.groups) {
    const repository = git.groups.place.replace(/\.git$/, "").split(/[/:]/).at(-1)
    const hash = createHash("sha256").update(spec).digest("hex").slice(0, 12)
    return { name: git.groups.name || undefined, key: `git-${repository}-${hash}`, fixed: /#[0-9a-f]{40}$/.test(spec), git: true }
  }
  const at = spec.indexOf("@", 1)
  const [name, version] = at < 0 ? [spec, "latest"] : [spec.slice(0, at), spec.slice(at + 1) || "*"]
  const alias = version.startsWith("npm:")
  return { name: alias ? undefined : name, key: `${name}@${version}`, fixed: /^\d+\.\d+\.\d+$/.test(version) }
}

const json = (path: string) => {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch {
    return {}
  }
}

function newest(key: string) {
  const directory = join(cache, "npm", key)
  const numbers = existsSync(directory) ? readdirSync(directory).filter((name) => /^\d+$/.test(name)) : []
  return join(directory, numbers.sort((a, b) => Number(a) - Number(b)).at(-1) ?? "none")
}

function place(spec: string) {
  const { name, key } = parsed(spec)
  const tree = newest(key)
  const called = name ?? Object.keys(json(join(tree, "package.json")).dependencies ?? {})[0] ?? spec
  return { tree, name: called, directory: join(tree, "node_modules", called) }
}

async function ask(spec: string) {
  if (process.env.npm_config_offline === "true") throw new Error(`ENOTCACHED: ${spec}`)
  await fetch(`${REGISTRY}/${encodeURIComponent(parsed(spec).name ?? spec)}`)
  throw new Error(`404: ${spec}`)
}

export async function resolve(spec: string) {
  const { directory, tree, name } = place(spec)
  if (!existsSync(directory)) return { directory }
  return { directory, entrypoint: import.meta.resolve(name, join(tree, "x")), version: json(join(directory, "package.json")).version }
}

export async function add(spec: string) {
  mkdirSync(join(state, "locks"), { recursive: true })
  return existsSync(place(spec).directory) ? resolve(spec) : ask(spec)
}

export async function check(spec: string) {
  const { git, fixed } = parsed(spec)
  if (fixed) return false
  const { tree, name, directory } = place(spec)
  const commit = /#[0-9a-f]{40}$/.test(json(join(tree, "package-lock.json")).packages?.[`node_modules/${name}`]?.resolved ?? "")
  if (git ? !commit : !existsSync(directory)) throw new Error(`Package is not installed: ${spec}`)
  return ask(spec)
}

export async function which(spec: string, command?: string) {
  const { tree, name } = place(spec)
  const commands = join(tree, "node_modules", ".bin")
  const there = existsSync(commands) ? readdirSync(commands).sort() : []
  if (command) return there.includes(command) ? join(commands, command) : null
  const own = name.split("/").at(-1)!
  return there.length ? join(commands, there.length > 1 && there.includes(own) ? own : there[0]) : null
}

// As an update leaves it: the same package, in a generation of its own.
export async function update(spec: string) {
  const from = place(spec).tree
  const to = join(from, "..", String(Date.now()))
  symlinkSync(from, to)
  return resolve(spec)
}

export const cacheKey = async (spec: string) => parsed(spec).key
