-- What several nodes share: who runs which source, what is asked of it, and how it is.

-- What admins asked for beside the settings file; survives every node.
create table sources (
  id             text primary key,
  spec           text,                          -- JSON; null where the settings file has the source
  subscriptions  text not null,                 -- JSON
  updated_at     timestamptz not null default now()
);

-- One row a source. The token grows with every owner and is the floor of the epochs that the owner opens.
create table source_leases (
  source      text primary key,
  owner       text not null,
  token       bigint not null,
  expires_at  timestamptz not null
);

-- Each owner's report, about once a second: what other nodes answer from.
create table source_status (
  source      text primary key,
  token       bigint not null,                  -- of the lease: the report of an owner before is not taken
  report      text not null,                    -- JSON: status and notifications
  topics      text not null,                    -- topic ids, a line each
  updated_at  timestamptz not null default now()
);

-- The venue's list, as the owner read it last.
create table source_instruments (
  source       text primary key,
  instruments  text not null,                   -- JSON
  updated_at   timestamptz not null default now()
);

-- What an admin asked of a source on a node that does not run it. Answered once, then deleted by who asked.
create table source_commands (
  id           bigint generated always as identity primary key,
  source       text not null,
  verb         text not null,
  request      text not null,                   -- JSON; credentials in it are encrypted
  asked_at     timestamptz not null default now(),
  taken_by     text,
  answer       text,                            -- JSON
  answered_at  timestamptz
);
create index source_commands_open on source_commands (source) where answered_at is null;
