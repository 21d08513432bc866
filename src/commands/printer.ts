/** Commands print for people; with `--json` one JSON document. */
export function printer(json: boolean | undefined): (document: unknown, text: string) => void {
  return (document, text) => process.stdout.write(`${json ? JSON.stringify(document) : text}\n`)
}
