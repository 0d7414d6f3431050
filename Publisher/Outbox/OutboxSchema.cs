using Dapper;
using Npgsql;

namespace Publisher.Outbox;

/// <summary>
/// Creates the outbox's tables. Idempotent; an advisory lock lets many instances start at once. Tables that are as they
/// should be are not locked: ALTER TABLE asks for the strongest lock also when it has nothing to do, waits for each
/// relay's transaction, and the relay's next statement would wait behind it.
/// </summary>
internal static class OutboxSchema
{
    // Any constant does; it only has to differ from the locks of other programs in the same database.
    private const long LockKey = 0x6F7574626F78;

    // A row's partition is -1 until it is divided or committed, see Chunk.
    // outbox_pending holds pending rows only: it stays small, and serves the relay, the reload of chunks and their
    // marking. outbox_once holds rows with an idempotency key only, and makes each the only one of its key.
    // lock_timeout bounds how long others wait behind this while somebody's transaction is waited for.
    private const string Sql = """
        SET LOCAL lock_timeout = '2s';
        CREATE TABLE IF NOT EXISTS producers (
            producer_id bigint PRIMARY KEY,
            created timestamptz NOT NULL DEFAULT now(),
            seen timestamptz NOT NULL DEFAULT now());
        CREATE TABLE IF NOT EXISTS outbox (
            id bigserial PRIMARY KEY,
            producer_id bigint NOT NULL,
            topic text NOT NULL,
            first_sequence bigint NOT NULL,
            batch_index int NOT NULL,
            sequence bigint NOT NULL,
            key bytea,
            value bytea NOT NULL,
            headers bytea,
            state smallint NOT NULL DEFAULT 0,
            broker_offset bigint,
            error text,
            created timestamptz NOT NULL DEFAULT now(),
            committed timestamptz);
        DO $$ BEGIN
            IF (SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()
                    AND table_name = 'outbox'
                    AND column_name IN ('idempotency_key', 'fingerprint', 'partition')) < 3 THEN
                ALTER TABLE outbox ADD COLUMN IF NOT EXISTS idempotency_key text;
                ALTER TABLE outbox ADD COLUMN IF NOT EXISTS fingerprint bytea;
                ALTER TABLE outbox ADD COLUMN IF NOT EXISTS partition int NOT NULL DEFAULT -1;
            END IF;
            IF to_regclass('outbox_pending') IS NULL THEN
                CREATE INDEX outbox_pending ON outbox (producer_id, topic, first_sequence) WHERE state = 0;
            END IF;
            IF to_regclass('outbox_once') IS NULL THEN
                CREATE UNIQUE INDEX outbox_once ON outbox (idempotency_key) WHERE idempotency_key IS NOT NULL;
            END IF;
        END $$;
        """;

    public static async Task EnsureAsync(NpgsqlDataSource database, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await connection.ExecuteAsync(new CommandDefinition(
            "SELECT pg_advisory_xact_lock(@LockKey)",
            new { LockKey },
            transaction,
            cancellationToken: cancellationToken));
        await connection.ExecuteAsync(
            new CommandDefinition(Sql, transaction: transaction, cancellationToken: cancellationToken));
        await transaction.CommitAsync(cancellationToken);
    }
}
