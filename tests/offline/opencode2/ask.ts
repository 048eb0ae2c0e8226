// Puts questions, a JSON list of lists such as `["add", "some@1"]`, to an install module: DIRECTORY/npm.ts, which is
// upstream's own or the small one beside this file. Answers with a JSON object a line.
const [directory, questions] = process.argv.slice(2)
const module = await import(`${directory}/npm.ts`)
for (const [what, ...words] of JSON.parse(questions)) {
  const began = performance.now()
  const answer = await module[what](...words).then(
    (ok: unknown) => ({ ok: ok ?? null }),
    (error: any) => ({ error: String(error?.cause?.message ?? error?.message ?? error) }),
  )
  console.log(JSON.stringify({ ...answer, ms: Math.round(performance.now() - began) }))
}
process.exit(0)
