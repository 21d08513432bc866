/**
 * `*` stands for any run of characters, also none. Each literal piece is looked for once, from left to right: no
 * backtracking, so no pattern is slow.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  const pieces = piecesOf(pattern)
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

/** One pattern is matched with many texts in a row: it is taken apart once. */
let lastPattern = ''
let lastPieces: readonly string[] = ['']

function piecesOf(pattern: string): readonly string[] {
  if (pattern !== lastPattern) {
    lastPattern = pattern
    lastPieces = pattern.split(/\*+/)
  }
  return lastPieces
}

/** How many runs of characters a pattern leaves open. */
export function wildcardsOf(pattern: string): number {
  return piecesOf(pattern).length - 1
}

export function isWildcard(pattern: string): boolean {
  return pattern.includes('*')
}
