-- The chart of accounts. An account is there before anything is posted to it, and it never goes away:
-- that is why the journal may check for it once, when a line is written, and needs no row foreign key.
create table account (
    code  smallint primary key,
    name  text not null unique,
    kind  text not null check (kind in ('asset', 'liability', 'equity', 'income', 'contra', 'expense'))
);

insert into account (code, name, kind) values
    (1000, 'Bank',                  'asset'),
    (1010, 'Stripe balance',        'asset'),
    (1020, 'Payouts in transit',    'asset'),
    (1030, 'Payment clearing',      'asset'),
    (1040, 'Refund clearing',       'asset'),
    (1050, 'Out-of-band clearing',  'asset'),
    (1100, 'Accounts receivable',   'asset'),
    (1110, 'Unbilled receivable',   'asset'),
    (1200, 'Disputes receivable',   'asset'),
    (2000, 'Tax payable',           'liability'),
    (2100, 'Deferred revenue',      'liability'),
    (2150, 'Prepaid credits',       'liability'),
    (2200, 'Customer balance',      'liability'),
    (2300, 'Refunds owed',          'liability'),
    (3900, 'FX trading',            'equity'),
    (4000, 'Revenue',               'income'),
    (4100, 'Breakage',              'income'),
    (4800, 'Voids',                 'contra'),
    (4850, 'Credit notes',          'contra'),
    (4900, 'Refunds',               'contra'),
    (4950, 'Promotional credits',   'contra'),
    (6000, 'Stripe fees',           'expense'),
    (6100, 'Dispute losses',        'expense'),
    (6150, 'Dispute fees',          'expense'),
    (6200, 'Bad debt',              'expense'),
    (6250, 'Recoveries',            'expense'),
    (7000, 'Realised FX',           'expense'),
    (9999, 'Suspense',              'equity');

grant select on account to $role;
