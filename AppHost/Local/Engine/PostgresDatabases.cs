using Npgsql;

namespace Aspire.Hosting.Local;

/// <summary>Creates the databases of a server.</summary>
internal static class PostgresDatabases
{
    public static async Task<NpgsqlConnection> ConnectAsync(
        PostgresServerResource server, CancellationToken cancellationToken)
    {
        var text = await server.ConnectionStringExpression.GetValueAsync(cancellationToken);

        // Without pooling a connection never outlives the server: a pooled one would fail the first check after a
        // restart.
        var connection = new NpgsqlConnection($"{text};Database=postgres;Pooling=false;Timeout=5;Command Timeout=30");
        try
        {
            await connection.OpenAsync(cancellationToken);
            return connection;
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    public static async Task CreateMissingAsync(PostgresServerResource server, CancellationToken cancellationToken)
    {
        await using var connection = await ConnectAsync(server, cancellationToken);
        foreach (var database in server.Databases.Values)
        {
            await using var find = new NpgsqlCommand("select 1 from pg_database where datname = $1", connection);
            find.Parameters.AddWithValue(database);
            if (await find.ExecuteScalarAsync(cancellationToken) is null)
            {
                // A name cannot be a parameter of this statement.
                var name = database.Replace("\"", "\"\"", StringComparison.Ordinal);
                await using var create = new NpgsqlCommand($"create database \"{name}\"", connection);
                await create.ExecuteNonQueryAsync(cancellationToken);
            }
        }
    }
}
