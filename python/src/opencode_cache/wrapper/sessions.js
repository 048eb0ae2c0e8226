
// --- Run by itself, `FILE NAME CACHE DATABASE…`: a copy of the sessions for going back to the OpenCode before ---
//
// The wrapper does this when it is about to turn the link to the cache, so while the old one, CACHE, still tells which
// OpenCode was started last. Each copy is a directory `<data>/kept-sessions/<time>-before-<version>`.
const MOST = 3 // copies
const DAYS = 60
const BYTES = 512 * 2 ** 20 // of all copies together

function keepSessions(name, before, databases) {
  const versionOf = (place) => {
    try {
      return JSON.parse(readFileSync(join(place, "manifest.json"))).opencode
    } catch {} // the cache is gone
  }
  const last = versionOf(before)
  const next = versionOf(cache)
  if (last === next) return
  const data = dirname(databases[0])
  const all = join(data, "kept-sessions")
  fs.mkdirSync(all, { recursive: true, mode: 0o700 })
  const now = new Date().toISOString().replaceAll(":", "-").slice(0, 19)
  const isOf = (version) => (copy) => copy.endsWith(`-before-${version}`)
  const copies = () => fs.readdirSync(all).filter((copy) => /^\d{4}-.*-before-/.test(copy)).sort().reverse()

  const back = last && Bun.semver.order(next, last) < 0 ? copies().find(isOf(last)) : undefined
  const quoted = (path) => `'${path.replaceAll("'", "'\\''")}'`
  if (back)
    console.error(
      `${name}: back from OpenCode ${last} to ${next}; to have the sessions from before ${last} again, close OpenCode` +
        ` and run: rm -f ${quoted(data)}/opencode*.db-* && cp ${quoted(join(all, back))}/*.db ${quoted(data)}/`,
    )

  const size = databases.reduce((sum, file) => sum + fs.statSync(file).size, 0)
  if (size > BYTES) throw new Error(`${Math.round(size / 2 ** 20)} MB are too many`)
  // Two versions that take turns would otherwise copy at each start.
  const today = copies().find(isOf(next))
  if (today && today.slice(0, 10) === now.slice(0, 10)) return

  const stage = join(all, `new-${process.pid}`)
  fs.mkdirSync(stage, { mode: 0o700 })
  try {
    const { Database } = require("bun:sqlite")
    for (const file of databases) {
      // A whole state of it, whoever has it open.
      const database = new Database(file, { readonly: true })
      database.run("PRAGMA busy_timeout = 3000")
      database.run("VACUUM INTO ?", [join(stage, basename(file))])
      database.close()
    }
    fs.renameSync(stage, join(all, `${now}-before-${next}`))
  } finally {
    fs.rmSync(stage, { recursive: true, force: true })
  }

  let bytes = 0
  for (const [index, copy] of copies().entries()) {
    const files = fs.readdirSync(join(all, copy)).map((file) => join(all, copy, file))
    bytes += files.reduce((sum, file) => sum + fs.statSync(file).size, 0)
    const days = (Date.now() - Date.parse(copy.slice(0, 10))) / 86_400_000
    if (index >= MOST || days > DAYS || bytes > BYTES) fs.rmSync(join(all, copy), { recursive: true, force: true })
  }
}

if (require.main === module) {
  const [name, before, ...databases] = process.argv.slice(2)
  try {
    keepSessions(name, before, databases)
  } catch (error) {
    console.error(`${name}: no copy of the sessions was made for going back (${error.message}); starting all the same`)
  }
}
