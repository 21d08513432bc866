import type { OrderBook } from '../market/order-book.ts'
import type { Dialect, Recorded } from './dialect.ts'

/** Texts of frames, made wrong in ways that venues have shown. Undefined: the frame has nothing to be changed. */

const ABOVE_2_53 = 2n ** 53n
/** The fewest levels that any venue's checksum covers. */
const HASHED_LEVELS = 10

/** A digit of a quantity among the best ten is changed. */
export function corrupted(
  text: string,
  recorded: Recorded,
  dialect: Dialect,
  book: OrderBook,
): string | undefined {
  const { levelText } = dialect.faults
  if (!levelText || !recorded.book) return undefined
  for (const side of ['asks', 'bids'] as const) {
    for (const level of recorded.book[side]) {
      const [price, size] = level
      const was = levelText(price, size)
      if (!/[1-9]/.test(size) || !text.includes(was)) continue
      if (!book.top(side, HASHED_LEVELS).some((best) => best[0] === price && best[1] === size)) continue
      const digit = Number(size.at(-1))
      return text.replace(was, levelText(price, size.slice(0, -1) + (digit === 9 ? 8 : digit + 1)))
    }
  }
  return undefined
}

/** The first size that is not zero, with an exponent: every digit stays. */
export function withExponent(text: string, recorded: Recorded): string | undefined {
  const amount = recorded.amounts?.find((one) => /[1-9]/.test(one) && !/e/i.test(one))
  return withAmount(text, amount, (plain) => {
    const [whole = '', fraction = ''] = plain.replace(/"/g, '').split('.')
    const digits = (whole + fraction).replace(/^0+/, '')
    const exponent = digits.length - fraction.length - 1
    const power = `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
    const quote = plain.startsWith('"') ? '"' : ''
    return `${quote}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${power}${quote}`
  })
}

/** A size as it has been seen in the wild. */
export function withAbsurdSize(text: string, recorded: Recorded): string | undefined {
  return withAmount(text, recorded.amounts?.[0], () => '"0.-10000"')
}

/** Every id is 2^53 greater. */
export function withBigIds(text: string, dialect: Dialect): string {
  const { ids } = dialect.faults
  if (!ids) return text
  return text.replace(ids, (_, key: string, id: string) => `"${key}":${BigInt(id) + ABOVE_2_53}`)
}

function withAmount(
  text: string,
  amount: string | undefined,
  write: (amount: string) => string,
): string | undefined {
  if (amount === undefined) return undefined
  const whole = new RegExp(`(?<![\\d.])${amount.replace('.', '\\.')}(?![\\d.eE])`)
  return text.replace(whole, () => write(amount))
}
