import { mkdtempSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../src/config.ts'
import { loadSecrets } from '../src/secrets.ts'

const folder = () => mkdtempSync(join(tmpdir(), 'feedgate-secrets-'))

describe('secrets', () => {
  it('are made once and kept, mode 0600; in demo mode the admin key is new at each start', () => {
    const config = loadConfig({ DATA_DIR: folder() })
    const first = loadSecrets(config)
    const second = loadSecrets(config)
    expect(second.jwtSecret).toBe(first.jwtSecret)
    expect(second.secretsKey).toBe(first.secretsKey)
    expect(second.adminApiKey).not.toBe(first.adminApiKey)
    expect(first.jwtSecret.length).toBeGreaterThanOrEqual(32)
    expect(statSync(join(config.dataDir, 'secrets.json')).mode & 0o777).toBe(0o600)
  })

  it('keep the admin key outside demo mode', () => {
    const dataDir = folder()
    const settings = join(dataDir, 'settings.yaml')
    writeFileSync(settings, 'port: 1\n')
    const config = loadConfig({ DATA_DIR: dataDir }, settings)
    expect(loadSecrets(config).adminApiKey).toBe(loadSecrets(config).adminApiKey)
  })

  it('come from the settings first', () => {
    const config = loadConfig({ DATA_DIR: folder(), JWT_SECRET: 'j'.repeat(40) })
    expect(loadSecrets(config).jwtSecret).toBe('j'.repeat(40))
  })

  it('are never replaced because their file is damaged', () => {
    const config = loadConfig({ DATA_DIR: folder() })
    writeFileSync(join(config.dataDir, 'secrets.json'), '{')
    expect(() => loadSecrets(config)).toThrow(/secrets\.json is not valid JSON: restore it/)
  })
})
