/** The import rules of docs/architecture.md. Type imports count: a port is a type. */
const PORTS =
  'src/(bus/bus|store/store|cache/cache|auth/auth|manager/manager|manager/positions|manager/leases|connectors/connector|gateway/gateway|tracing/tracing)[.]ts$'

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'market-imports-nothing',
      comment: 'The vocabulary is pure: it knows no other folder and no package.',
      severity: 'error',
      from: { path: '^src/market/' },
      to: { pathNot: '^(src/market/|node:)', dependencyTypesNot: ['core'] },
    },
    {
      name: 'a-venue-sees-ports-and-market',
      severity: 'error',
      from: { path: '^src/connectors/venues/' },
      to: { pathNot: '^src/(market/|connectors/(connector|venue)[.]ts$|connectors/venues/[^/]+[.]ts$)' },
    },
    {
      name: 'adapters-only-by-engines',
      comment: 'Adapters are chosen in one place (of tracing: by the app).',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(engines|app)[.]ts$' },
      to: {
        path: '^src/(bus/(kafka|embedded)|store/(timescale|postgres|pglite)|cache/(redis|memory)|tracing/otel)[.]ts$',
      },
    },
    {
      name: 'a-folder-sees-ports',
      comment: 'A folder sees another only through its port file.',
      severity: 'error',
      from: { path: '^src/([^/]+)/', pathNot: '^src/(commands|player|exchange)/' },
      to: {
        path: '^src/[^/]+/',
        pathNot: ['^src/$1/', '^src/(market|protocol)/', PORTS],
      },
    },
    {
      name: 'metrics-listens',
      comment: 'Facts are emitted to signals; nobody but the app knows who listens.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(app[.]ts$|metrics/)' },
      to: { path: '^src/metrics/' },
    },
    {
      name: 'console-and-client-see-the-protocol',
      severity: 'error',
      from: { path: '^(console|client)/' },
      to: { path: '^src/', pathNot: '^src/protocol/' },
    },
    {
      name: 'no-undeclared-packages',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'unknown', 'undetermined'] },
    },
    { name: 'not-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^client/dist/' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.json'],
      conditionNames: ['import', 'node', 'types', 'default'],
      exportsFields: ['exports'],
    },
  },
}
