import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { FeedgateError } from './errors.ts'

const IV_BYTES = 12
const TAG_BYTES = 16

/**
 * Keeps venue credentials from everything that logs, stores or shows: they go about sealed, with AES-256-GCM under a key
 * derived from `SECRETS_KEY`, and are opened where a connection is made.
 */
export interface Vault {
  seal(credentials: Readonly<Record<string, string>>): string
  /** Throws `bad-setting` for what another key sealed, or nobody. */
  open(sealed: string): Readonly<Record<string, string>>
}

export function createVault(secretsKey: string): Vault {
  const key = Buffer.from(hkdfSync('sha256', secretsKey, '', 'feedgate venue credentials', 32))
  return {
    seal: (credentials) => {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv('aes-256-gcm', key, iv)
      const text = Buffer.concat([cipher.update(JSON.stringify(credentials), 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url')
    },
    open: (sealed) => {
      const bytes = Buffer.from(sealed, 'base64url')
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), {
          authTagLength: TAG_BYTES,
        })
        decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
        const text = Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()])
        return JSON.parse(text.toString('utf8')) as Record<string, string>
      } catch {
        throw new FeedgateError(
          'bad-setting',
          'stored venue credentials cannot be opened: SECRETS_KEY is not the one that sealed them',
        )
      }
    },
  }
}
