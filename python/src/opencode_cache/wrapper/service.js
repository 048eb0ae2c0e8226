
// Nearly every command of OpenCode 2.x asks a background service (`serve --service`), which keeps the environment and
// the program of whoever started it, and tells where it is in `service.json` (`packages/client/src/effect/service.ts`;
// tried on 2.0.15). A service that this wrapper started leaves a mark; one without it has neither the cache nor the
// settings, and a start that it would answer ends with what to do. (`--standalone` for every start would be another way:
// which commands take it changes from one 2.x to the next, and those that do not take it end.)
;(() => {
  const { BUN_BE_BUN, HOME, XDG_CACHE_HOME, XDG_STATE_HOME } = started
  if (!isMainThread || BUN_BE_BUN !== undefined || !XDG_CACHE_HOME) return
  const words = process.argv.slice(2)
  const marks = join(XDG_CACHE_HOME, "opencode", ".nix")
  const mark = (pid) => join(marks, `service.${pid}`)
  const read = (path) => {
    try {
      return readFileSync(path, "utf8")
    } catch {} // it is not there
  }
  const alive = (pid) => {
    try {
      return process.kill(pid, 0)
    } catch (error) {
      return error.code === "EPERM"
    }
  }

  if (words[0] === "serve" && words.includes("--service")) {
    const left = (name) => name.startsWith("service.") && !alive(Number(name.slice("service.".length)))
    for (const name of fs.readdirSync(marks).filter(left)) fs.rmSync(join(marks, name), { force: true })
    fs.writeFileSync(mark(process.pid), process.execPath)
    process.on("exit", () => fs.rmSync(mark(process.pid), { force: true }))
    return
  }
  const alone = ["serve", "service", "debug", "upgrade", "update", "uninstall"]
  const flags = ["--standalone", "--server", "--version", "-v", "--help", "-h"]
  if (alone.includes(words[0]) || words.some((word) => flags.includes(word.split("=")[0]))) return
  let service
  try {
    const state = XDG_STATE_HOME || join(HOME, ".local", "state")
    service = JSON.parse(read(join(state, "opencode", "service.json")))
  } catch {} // none is running
  if (!Number.isInteger(service?.pid) || !alive(service.pid) || read(mark(service.pid)) === process.execPath) return
  const what = `process ${service.pid}, OpenCode ${service.version ?? "of an unknown version"}`
  process.stderr.write(
    `${@@{name}}: the background service (${what}) was not started by this program, so it has neither its cache nor ` +
      `its settings; stop it with \`${@@{name}} service stop\`, or add --standalone\n`,
  )
  process.exit(2)
})()
