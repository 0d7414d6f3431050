using Dapper;
using Npgsql;

namespace Subscriber.Inbox;

/// <summary>Creates the inbox's tables. Idempotent; an advisory lock lets many instances start at once.</summary>
internal static class InboxSchema
{
    /// <summary>
    /// Held by every transaction that writes the inbox, so that of many instances one writes at a time and inbox ids
    /// rise in the order of commits: a reader that has seen an id never finds a smaller one later.
    /// </summary>
    public const long WriterLock = 0x696E626F78;

    private const long SchemaLock = 0x696E626F7801;

    // The block at the end brings tables of before there were partitions up to date. Tables that are as they should be
    // are not locked; lock_timeout bounds how long others wait behind this while somebody's transaction is waited for.
    private const string Sql = """
        SET LOCAL lock_timeout = '2s';
        CREATE TABLE IF NOT EXISTS inbox (
            inbox_id bigserial NOT NULL,
            topic text NOT NULL,
            partition int NOT NULL DEFAULT 0,
            "offset" bigint NOT NULL,
            timestamp_unix_ms bigint NOT NULL,
            key bytea,
            value bytea NOT NULL,
            headers bytea,
            received timestamptz NOT NULL DEFAULT now(),
            source smallint NOT NULL,
            PRIMARY KEY (topic, partition, "offset"));
        CREATE TABLE IF NOT EXISTS positions (
            topic text NOT NULL,
            partition int NOT NULL DEFAULT 0,
            next_offset bigint NOT NULL,
            PRIMARY KEY (topic, partition));
        CREATE TABLE IF NOT EXISTS subjects (filter text PRIMARY KEY, created timestamptz NOT NULL DEFAULT now());
        DO $$ BEGIN
            IF NOT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema()
                    AND table_name = 'positions' AND column_name = 'partition') THEN
                ALTER TABLE inbox ADD COLUMN partition int NOT NULL DEFAULT 0;
                ALTER TABLE inbox DROP CONSTRAINT inbox_pkey;
                ALTER TABLE inbox ADD PRIMARY KEY (topic, partition, "offset");
                ALTER TABLE positions ADD COLUMN partition int NOT NULL DEFAULT 0;
                ALTER TABLE positions DROP CONSTRAINT positions_pkey;
                ALTER TABLE positions ADD PRIMARY KEY (topic, partition);
            END IF;
            IF to_regclass('inbox_by_id') IS NULL THEN
                CREATE UNIQUE INDEX inbox_by_id ON inbox (inbox_id);
            END IF;
        END $$;
        """;

    public static async Task EnsureAsync(NpgsqlDataSource database, CancellationToken cancellationToken)
    {
        await using var connection = await database.OpenConnectionAsync(cancellationToken);
        await using var transaction = await connection.BeginTransactionAsync(cancellationToken);
        await connection.ExecuteAsync(new CommandDefinition(
            "SELECT pg_advisory_xact_lock(@SchemaLock)",
            new { SchemaLock },
            transaction,
            cancellationToken: cancellationToken));
        await connection.ExecuteAsync(
            new CommandDefinition(Sql, transaction: transaction, cancellationToken: cancellationToken));
        await transaction.CommitAsync(cancellationToken);
    }
}
