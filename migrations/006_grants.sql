-- What tenants may see of restricted sources. A row is never changed: a grant for the same tenant, source and channel
-- takes its place under a new id.
create table grants (
  id          text primary key,
  tenant      text not null,                    -- one that exists, of those without a row in `tenants` too
  source      text not null,
  channel     text,                             -- null: all that the tenant's tiers have
  depth       integer,                          -- levels a side of books; null: as the tier has it
  delay_ms    bigint not null,
  display     boolean not null,                 -- for people to look at only: nothing that feeds machines
  from_time   timestamptz,                      -- events received from then on
  to_time     timestamptz,                      -- and before then
  created_at  timestamptz not null default now()
);
create unique index grants_of on grants (tenant, source, coalesce(channel, ''));
