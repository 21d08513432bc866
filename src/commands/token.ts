import { randomUUID } from 'node:crypto'
import { Command } from 'commander'
import jsonwebtoken from 'jsonwebtoken'
import { loadConfig } from '../config.ts'
import { makeDataDir } from '../data-dir.ts'
import { FeedgateError } from '../errors.ts'
import { loadSecrets } from '../secrets.ts'
import { printer } from './printer.ts'

const LIFE_SECONDS = 15 * 60

/**
 * A JWT by the operator's own secret, for a tenant that exists: for scripts and tests. Clients get theirs for an API
 * key at `POST /auth/token`.
 */
export function tokenCommand(env: Readonly<Record<string, string | undefined>>): Command {
  return new Command('token')
    .description('make a JWT of 15 minutes for a tenant')
    .option('--tenant <id>', 'whose it is', 'default')
    .option('--tier <tier>', 'basic, premium, institutional', 'basic')
    .option('--subject <sub>', 'who uses it', 'operator')
    .option('--scope <scope>', 'admin: may call admin routes')
    .option('--config <file>', 'settings file')
    .option('--json', 'print one JSON document')
    .action(
      (options: {
        tenant: string
        tier: string
        subject: string
        scope?: string
        config?: string
        json?: boolean
      }) => {
        if (!['basic', 'premium', 'institutional'].includes(options.tier))
          throw new FeedgateError(
            'bad-setting',
            `--tier is ${JSON.stringify(options.tier)}: accepted are basic, premium, institutional`,
          )
        const config = loadConfig(env, options.config)
        makeDataDir(config.dataDir)
        const claims = {
          sub: options.subject,
          tenant_id: options.tenant,
          tier: options.tier,
          jti: randomUUID(),
          ...(options.scope ? { scope: options.scope } : {}),
        }
        const accessToken = jsonwebtoken.sign(claims, loadSecrets(config).jwtSecret, {
          algorithm: 'HS256',
          issuer: config.jwtIssuer,
          expiresIn: LIFE_SECONDS,
        })
        printer(options.json)({ accessToken, tokenType: 'Bearer', expiresIn: LIFE_SECONDS }, accessToken)
      },
    )
}
