import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from './config.ts'
import { writePrivate } from './data-dir.ts'
import { FeedgateError } from './errors.ts'

export interface Secrets {
  readonly jwtSecret: string
  readonly adminApiKey: string
  readonly secretsKey: string
}

/**
 * Secrets by setting, else those made at an earlier start and kept in `DATA_DIR/secrets.json` (mode 0600), else new
 * ones. In demo mode the admin key is new at each start.
 */
export function loadSecrets(config: Config): Secrets {
  const path = join(config.dataDir, 'secrets.json')
  const kept = readKept(path)
  const secrets: Secrets = {
    jwtSecret: config.jwtSecret ?? kept.jwtSecret ?? randomSecret(),
    adminApiKey: config.adminApiKey ?? (config.demo ? undefined : kept.adminApiKey) ?? randomSecret(),
    secretsKey: config.secretsKey ?? kept.secretsKey ?? randomSecret(),
  }
  const keep = {
    ...kept,
    ...(config.jwtSecret === undefined ? { jwtSecret: secrets.jwtSecret } : {}),
    ...(config.secretsKey === undefined ? { secretsKey: secrets.secretsKey } : {}),
    ...(config.adminApiKey === undefined && !config.demo ? { adminApiKey: secrets.adminApiKey } : {}),
  }
  if (config.mayMakeSecrets && JSON.stringify(keep) !== JSON.stringify(kept))
    writePrivate(path, JSON.stringify(keep))
  return secrets
}

export function randomSecret(): string {
  return randomBytes(32).toString('base64url')
}

function readKept(path: string): Partial<Secrets> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return {}
  }
  try {
    return JSON.parse(text) as Partial<Secrets>
  } catch (cause) {
    // Making new ones would void every token and stored credential without a word.
    throw new FeedgateError(
      'bad-setting',
      `${path} is not valid JSON: restore it, or remove it to have new secrets made`,
      {
        cause,
      },
    )
  }
}
