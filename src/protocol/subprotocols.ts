/** WebSocket subprotocols of `/ws`; without one it is JSON. */
export const SUBPROTOCOLS = {
  json: 'feedgate.v1.json',
  messagePack: 'feedgate.v1.msgpack',
} as const
