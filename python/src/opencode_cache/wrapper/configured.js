
// At the first start after the configuration changed: one line for what it names and the cache lacks. The rules are some of
// those of `config/`, whose commands say the rest. A start with a configuration that was looked at reads its files, no more.
function sayWhatIsLacking(cache) {
  const { HOME, XDG_CACHE_HOME, XDG_CONFIG_HOME } = started
  if (!isMainThread || !HOME?.startsWith("/") || !XDG_CACHE_HOME?.startsWith("/")) return
  const installed = join(XDG_CACHE_HOME, "opencode")
  const looked = join(installed, ".nix", "configurations") // digests of those that were looked at
  const read = (path) => {
    try {
      return readFileSync(path, "utf8")
    } catch {
      return ""
    }
  }
  const cwd = process.cwd()
  const given = (name) => started[`OPENCODE_${name}`] ?? ""

  // Files in the order of `config/read.py`.
  const own = join(XDG_CONFIG_HOME?.startsWith("/") ? XDG_CONFIG_HOME : join(HOME, ".config"), "opencode")
  const projects = /^(1|true)$/i.test(given("DISABLE_PROJECT_CONFIG")) ? [] : [cwd]
  while (projects.length && !existsSync(join(projects.at(-1), ".git")) && projects.at(-1) !== "/")
    projects.push(dirname(projects.at(-1)))
  const directories = [...projects.map((path) => join(path, ".opencode")), join(HOME, ".opencode")]
  if (given("CONFIG_DIR")) directories.push(resolve(given("CONFIG_DIR")))
  const files = (paths, ...names) =>
    paths.flatMap((path) => names.map((name) => ({ from: path, text: read(join(path, name)) }))).filter(({ text }) => text)
  const everywhere = (...names) => [...files([...projects].reverse(), ...names), ...files(directories, ...names)]
  const named = given("CONFIG") && resolve(given("CONFIG"))
  const documents = [
    ...files([own], "config.json", "opencode.json", "opencode.jsonc"),
    ...(named ? files([dirname(named)], basename(named)) : []),
    ...everywhere("opencode.json", "opencode.jsonc"),
    { from: cwd, text: given("CONFIG_CONTENT") },
    ...files([given("TEST_MANAGED_CONFIG_DIR") || "/etc/opencode"], "opencode.json", "opencode.jsonc"),
  ]
  const interfaces = [...files([own], "tui.json", "tui.jsonc"), ...everywhere("tui.json", "tui.jsonc")]
  const packages = files([own, ...directories], "package.json")
  const content = JSON.stringify([cache, documents, interfaces, packages])
  const digest = new Bun.CryptoHasher("sha256").update(content).digest("hex")
  const known = read(looked).split("\n").filter(Boolean)
  if (known.includes(digest)) return

  // As `config/text.py` reads them.
  const TOKEN = /"(?:[^"\\]|\\.)*(?:"|$)|\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)|,(?=\s*[}\]])/g
  const plain = (text) => text.replace(TOKEN, (token) => (token.startsWith('"') ? token : ""))
  const contentOf = (from, name) => read(resolve(from, name.replace(/^~(?=\/)/, HOME))).trim()
  const table = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {})
  const list = (value) => (Array.isArray(value) ? value : [])
  const parsed = ({ from, text }) => {
    const whole = text
      .replace(/\{env:([^}]+)\}/g, (_, name) => started[name] ?? "")
      .replace(/\{file:([^}]+)\}/g, (_, name) => JSON.stringify(contentOf(from, name)).slice(1, -1))
    try {
      return table(JSON.parse(plain(plain(whole))))
    } catch {
      return {} // OpenCode itself says what is wrong
    }
  }
  const merged = (one, other) => {
    if (table(one) !== one || table(other) !== other) return other
    const keys = Object.keys({ ...one, ...other })
    return Object.fromEntries(keys.map((key) => [key, key in other ? merged(one[key], other[key]) : one[key]]))
  }
  const values = documents.map(parsed)
  const whole = values.reduce(merged, {})

  const manifest = JSON.parse(readFileSync(join(cache, "manifest.json"), "utf8"))
  const isBun = manifest.layout === "bun"
  const isLocal = (spec) => /^(?:file:|[./~])/.test(spec)
  const nameOf = (spec) => /^(?:@[^/@]+\/)?[^/@]+(?=@|$)/.exec(spec)?.[0] ?? spec
  const has = (spec, bare = "") => {
    const name = nameOf(spec)
    if (isBun) return existsSync(join(installed, "node_modules", name))
    const tree = join("packages", /^(?:@[^/@]+\/)?[^/@:]+$/.test(spec) ? spec + bare : spec)
    return manifest.requests.some((one) => one.tree === tree) || existsSync(join(installed, tree, "node_modules", name))
  }
  const lacks = new Set()
  const lack = (key, what) => lacks.add(`${key} '${what.replace(/\/\/[^/@\s]*@/g, "//…@").split("?")[0]}'`)

  const plugins = new Map()
  for (const value of [...values, ...interfaces.map(parsed)])
    for (const one of list(value.plugin)) {
      const spec = Array.isArray(one) ? one[0] : one
      if (typeof spec === "string" && spec.trim() && !isLocal(spec)) plugins.set(nameOf(spec), spec)
    }
  for (const spec of plugins.values()) {
    const builtIn = !isBun && /opencode-openai-codex-auth|opencode-copilot-auth/.test(spec)
    if (!builtIn && !has(spec, "@latest")) lack("plugin", spec)
  }
  const models = (provider) =>
    Object.entries(table(table(provider).models)).map(([id, model]) => [`models.${id}.provider.npm`, table(model).provider])
  for (const [id, provider] of Object.entries(table(whole.provider)))
    for (const [key, one] of [["npm", provider], ...models(provider)]) {
      const { npm } = table(one)
      if (typeof npm === "string" && !isLocal(npm) && !manifest.bundled.includes(npm) && !has(npm))
        lack(`provider.${id}.${key}`, npm)
    }
  const { servers, ...ordinary } = table(whole.mcp)
  const commands = { mcp: { ...ordinary, ...table(servers) }, lsp: whole.lsp, formatter: whole.formatter }
  for (const [key, entries] of Object.entries(commands))
    for (const [name, one] of Object.entries(table(entries))) {
      const { command, enabled, disabled } = table(one)
      const words = list(command).map(String)
      if (!words.length || enabled === false || disabled === true) continue
      const npm = fetched(words)
      const isThere = npm?.place && existsSync(npm.place)
      const others = /^(?:uvx|uv tool run|pipx run) |^(?:ba|da|z)?sh .*\b(?:npx|bunx|pnpx|uvx|pnpm dlx|npm exec)\b/
      if (others.test([basename(words[0]), ...words.slice(1)].join(" ")) || (npm && !isThere)) lack(`${key}.${name}`, words.slice(0, 3).join(" "))
    }
  for (const one of packages) {
    const value = parsed(one)
    const sections = ["dependencies", "devDependencies", "peerDependencies", "optionalDependencies"]
    const wanted = Object.entries(Object.assign({}, ...sections.reverse().map((section) => table(value[section]))))
    for (const [name, version] of wanted) {
      const places = [one.from, join(cache, "config")]
      const isThere = places.some((place) => existsSync(join(place, "node_modules", name)))
      if (name !== "@opencode-ai/plugin" && !isThere) lack("dependencies", `${name}@${version}`)
    }
  }
  const isAnswered = (url) => !/^https?:/i.test(url) || url in (manifest.urls ?? {})
  for (const url of values.flatMap((value) => list(value.instructions)).map(String))
    if (!isAnswered(url)) lack("instructions", url)
  for (const url of list(table(whole.skills).urls).map(String))
    if (!isAnswered(`${url.replace(/\/$/, "")}/index.json`)) lack("skills", url)

  if (lacks.size) {
    const names = [...lacks].slice(0, 3).map((one) => one.replace(/[^\x20-\x7e\u00a1-\uffff]/g, "?").slice(0, 120))
    const more = lacks.size > 3 ? ` and ${lacks.size - 3} more` : ""
    const fix = "opencode-cache plan --check says what to do"
    fs.writeSync(2, `${@@{name}}: the configuration names what the cache lacks: ${names.join(", ")}${more}; ${fix}\n`)
  }
  try {
    fs.writeFileSync(`${looked}.${process.pid}`, [...known.slice(-49), digest, ""].join("\n"))
    fs.renameSync(`${looked}.${process.pid}`, looked)
  } catch {} // then it is said again
}

try {
  sayWhatIsLacking(cache)
} catch {} // no reason not to start
