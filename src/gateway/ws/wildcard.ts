/**
 * `*` stands for any run of characters, also none. Each literal piece is looked for once, from left to right: no
 * backtracking, so no pattern is slow.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  const pieces = pattern.split('*')
  if (pieces.length === 1) return pattern === text
  const first = pieces[0]!
  const last = pieces.at(-1)!
  const end = text.length - last.length
  if (end < first.length || !text.startsWith(first) || !text.endsWith(last)) return false
  let from = first.length
  for (let piece = 1; piece < pieces.length - 1; piece++) {
    const at = text.indexOf(pieces[piece]!, from)
    if (at < 0) return false
    from = at + pieces[piece]!.length
  }
  return from <= end
}

export function isWildcard(pattern: string): boolean {
  return pattern.includes('*')
}
