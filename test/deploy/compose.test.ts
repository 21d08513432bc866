import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config.ts'
import { DEMO_SOURCES } from '../../src/demo.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { ROLES } from '../../src/roles.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Service {
  readonly image: string
  readonly build?: unknown
  readonly user: string
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
  readonly security_opt: readonly string[]
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly healthcheck: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly volumes: readonly string[]
  readonly ports?: readonly string[]
  readonly profiles?: readonly string[]
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
  readonly deploy: { readonly resources: { readonly limits: { readonly memory: string } } }
}

const { services, volumes } = parse(read('docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}
const entries = Object.entries(services)
const one = (name: string) => services[name] as Service

/** The plugin of the docker command, or the Debian package docker-compose. */
function composeCommand(): readonly string[] | undefined {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    try {
      execFileSync(command[0]!, [...command.slice(1), 'version'], { stdio: 'ignore' })
      return command
    } catch {}
  }
  return undefined
}
const compose = composeCommand()

describe('docker-compose.yml', () => {
  it.skipIf(!compose)(
    `is valid by docker compose config${compose ? '' : ' (skipped: neither docker compose nor docker-compose is here: apt-get install docker-compose)'}`,
    () => {
      const [command, ...args] = compose as readonly [string, ...string[]]
      const config = (...profile: string[]) =>
        parse(execFileSync(command, [...args, ...profile, 'config'], { cwd: ROOT }).toString()) as {
          services: Record<string, Service>
        }
      // Compose tells what a profile leaves out by leaving it out, or all of it (its first version).
      expect(Object.keys(config('--profile', 'development').services).sort()).toEqual(
        Object.keys(services).sort(),
      )
      expect(config().services.gateway?.image).toBe(one('gateway').image)
    },
    30_000,
  )

  it.each(entries)(
    'runs %s without root, with a file system that is only read, and bounded',
    (_name, service) => {
      expect(service.user).toMatch(/^(?!root|0(:|$)).+/)
      expect(service.read_only).toBe(true)
      expect(service.cap_drop).toEqual(['ALL'])
      expect(service.security_opt).toEqual(['no-new-privileges:true'])
      expect(service.deploy.resources.limits.memory).toMatch(/^\d+[MG]$/)
    },
  )

  it.each(entries)('pins the image of %s and says when it is well', (name, service) => {
    expect(service.image).toMatch(/^[a-z/]+:v?\d+\.\d+\.\d+(-[a-z0-9]+)?(@sha256:[0-9a-f]{64})?$/)
    const ends = ['secrets', 'migrate'].includes(name)
    expect(service.healthcheck.disable ?? false).toBe(ends)
    if (!ends) expect(service.healthcheck.test?.[0]).toMatch(/^CMD/)
  })

  it('builds the image in one place, of the version that it is', () => {
    const { version } = JSON.parse(read('package.json')) as { version: string }
    const own = entries.filter(([, { image }]) => image.startsWith('feedgate:'))
    expect(new Set(own.map(([, { image }]) => image))).toEqual(new Set([`feedgate:${version}`]))
    expect(entries.filter(([, { build }]) => build !== undefined).map(([name]) => name)).toEqual(['secrets'])
  })

  it('has a service for each role, which waits for the schema and the engines', () => {
    for (const role of ROLES) {
      expect(one(role).command).toEqual(['start', '--roles', role])
      expect(one(role).depends_on).toEqual({
        migrate: { condition: 'service_completed_successfully' },
        kafka: { condition: 'service_healthy' },
        redis: { condition: 'service_healthy' },
      })
    }
    expect(one('migrate').depends_on?.timescaledb).toEqual({ condition: 'service_healthy' })
  })

  it('lets anonymous clients in by the development profile alone, and on this machine only', () => {
    const lenient = entries.filter(([, { environment }]) => environment?.ANONYMOUS_TIER !== undefined)
    expect(lenient.map(([name]) => name)).toEqual(['gateway-development'])
    expect(lenient[0]?.[1]).toMatchObject({
      profiles: ['development'],
      environment: { ANONYMOUS_TIER: 'basic' },
    })
    expect(one('gateway-development').ports).toEqual([expect.stringMatching(/^127\.0\.0\.1:.*:8080$/)])
    for (const [name, { profiles }] of entries)
      if (name !== 'gateway-development') expect(profiles).toBeUndefined()
  })

  it('mounts only files that are there and volumes that are declared', () => {
    const used = new Set<string>()
    for (const [, { volumes: mounts }] of entries)
      for (const mount of mounts) {
        const [source = ''] = mount.split(':')
        if (source.startsWith('./')) expect(() => statSync(join(ROOT, source)), mount).not.toThrow()
        else if (!source.startsWith('/')) used.add(source)
        if (mount.includes('secrets:/run')) expect(mount).toMatch(/:ro$/)
      }
    expect([...used].sort()).toEqual(Object.keys(volumes).sort())
  })

  it('runs the broker that the tests prove kafkajs to speak with', () => {
    const tested = /kafka_2\.13<\/artifactId>\s*<version>([^<]+)/.exec(read('test/services/kafka/pom.xml'))
    expect(one('kafka').image).toBe(`apache/kafka:${tested?.[1]}`)
  })

  it('serves what the demo serves', () => {
    const { sources } = parse(read('deploy/feedgate.yaml')) as { sources: unknown }
    expect(sources).toEqual(DEMO_SOURCES)
  })
})

describe('the secrets of a first start', () => {
  const folder = mkdtempSync(join(tmpdir(), 'feedgate-secrets-'))
  const make = () => execFileSync('sh', [join(ROOT, 'deploy/make-secrets.sh'), folder]).toString()
  const secret = (path: string) => readFileSync(join(folder, path), 'utf8').trim()
  beforeAll(() => void make())

  it('are made once', () => {
    const before = secret('feedgate/jwt_secret')
    expect(make()).toBe('')
    expect(secret('feedgate/jwt_secret')).toBe(before)
    expect(before).toMatch(/^[0-9a-f]{64}$/)
    expect(secret('feedgate/admin_api_key')).not.toBe(before)
  })

  it('open the database and Redis to the roles', () => {
    expect(new URL(secret('feedgate/database_url')).password).toBe(secret('timescaledb/password'))
    expect(`requirepass ${new URL(secret('feedgate/redis_url')).password}`).toBe(
      secret('redis/requirepass.conf'),
    )
  })

  it.each(entries.filter(([, { environment }]) => environment?.FEEDGATE_CONFIG))(
    'and deploy/feedgate.yaml are settings that %s starts with',
    (_name, { environment }) => {
      const env = Object.entries(environment!).map(([name, value]) => [
        name,
        value
          .replace('/run/secrets', join(folder, 'feedgate'))
          .replace('/etc/feedgate', join(ROOT, 'deploy'))
          .replace(/^\$\{\w+:-(.*)\}$/, '$1'),
      ])
      const config = loadConfig({ ...Object.fromEntries(env), NODE_ENV: 'production', HOST: '0.0.0.0' })
      expect(config).toMatchObject({ demo: false, kafkaBrokers: 'kafka:9092' })
      expect(config.jwtSecret).toBe(secret('feedgate/jwt_secret'))
      expect(config.otelExporterOtlpEndpoint).toBeUndefined()
    },
  )
})

describe('dashboards and alerts', () => {
  const folder = join(ROOT, 'deploy/grafana/dashboards')
  const dashboards = readdirSync(folder).map(
    (name) =>
      JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
        uid: string
        panels: { id: number; title: string; targets?: { expr: string; datasource: { uid: string } }[] }[]
      },
  )
  const targets = dashboards.flatMap(({ panels }) => panels.flatMap((panel) => panel.targets ?? []))
  const alerts = parse(read('deploy/prometheus/alerts.yml')) as {
    groups: { rules: { alert: string; expr: string }[] }[]
  }
  const rules = alerts.groups.flatMap((group) => group.rules)

  const manual = read('docs/operations.md')
  let known: Set<string>
  beforeAll(async () => {
    const metrics = createMetrics()
    const text = await metrics.text()
    metrics.close()
    known = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!))
  })

  it('ask for metrics that the program has', () => {
    const expressions = [...targets, ...rules].map(({ expr }) => expr)
    const asked = new Set(
      expressions.flatMap((expr) => expr.match(/\b(feedgate|odds_proc|nodejs|process)_\w+/g) ?? []),
    )
    const strange = [...asked].filter(
      (name) => !known.has(name) && !known.has(name.replace(/_(bucket|sum|count)$/, '')),
    )
    expect(strange).toEqual([])
    expect(asked.size).toBeGreaterThan(20)
  })

  it('use the data source that is provisioned', () => {
    const { datasources } = parse(read('deploy/grafana/provisioning/datasources/prometheus.yml')) as {
      datasources: { uid: string }[]
    }
    for (const { datasource } of targets) expect(datasource.uid).toBe(datasources[0]?.uid)
    expect(new Set(dashboards.map(({ uid }) => uid)).size).toBe(dashboards.length)
  })

  it('scrape every service that runs a role', () => {
    const prometheus = parse(read('deploy/prometheus/prometheus.yml')) as {
      scrape_configs: { dns_sd_configs: { names: string[] }[] }[]
    }
    const running = entries.filter(([, { command }]) => command?.[0] === 'start').map(([name]) => name)
    expect(prometheus.scrape_configs[0]?.dns_sd_configs[0]?.names.sort()).toEqual(running.sort())
  })

  it('are explained in the operations manual, and so is every metric', () => {
    for (const { alert } of rules) expect(manual).toContain(`\`${alert}\``)
    const own = [...known].filter((name) => /^(feedgate|odds_proc)_/.test(name))
    expect(own.filter((name) => !manual.includes(`\`${name}`))).toEqual([])
  })
})
