using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Subscriber;
using Subscriber.Following;

namespace Broker.Tests.Interop;

/// <summary>
/// One life of the subscriber without its network endpoints, over a real Postgres and pretended brokers.
/// </summary>
internal sealed class SubscriberProcess : IAsyncDisposable
{
    private readonly IHost _host;

    private SubscriberProcess(IHost host) => _host = host;

    public T Part<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();

    public static async Task<SubscriberProcess> StartAsync(
        PostgresServer postgres, IBrokerLog log, string? redis = null, params string[] subjects)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(new SubscriberOptions { Subjects = subjects.Length == 0 ? [">"] : subjects });
        builder.Services.AddSingleton(_ => postgres.Connect());
        builder.Services.AddSingleton(log);
        builder.Configuration["ConnectionStrings:cache"] = redis;
        builder.AddInbox();
        var host = builder.Build();
        await host.StartAsync();
        await host.Services.GetRequiredService<Subscriber.Inbox.Startup>().Ready;
        return new SubscriberProcess(host);
    }

    public async Task<List<(long Offset, string Value, short Source)>> InboxAsync(string topic)
    {
        await using var connection = await Part<NpgsqlDataSource>().OpenConnectionAsync();
        var rows = await connection.QueryAsync<(long, string, short)>(
            """
            SELECT "offset", convert_from(value, 'UTF8'), source FROM inbox WHERE topic = @topic ORDER BY inbox_id
            """,
            new { topic });
        return rows.AsList();
    }

    public async Task<long> CountAsync(string topic)
    {
        try
        {
            await using var connection = await Part<NpgsqlDataSource>().OpenConnectionAsync();
            return await connection.ExecuteScalarAsync<long>(
                "SELECT count(*) FROM inbox WHERE topic = @topic", new { topic });
        }
        catch (NpgsqlException)
        {
            return -1;  // Away: a test that kills Postgres asks again.
        }
    }

    public async Task<HealthStatus> HealthAsync() => (await Part<HealthCheckService>().CheckHealthAsync()).Status;

    public Task HasAsync(string topic, int count) => Eventually.HoldsAsync(
        async () => await CountAsync(topic) >= count, () => $"{count} messages of topic {topic} in the inbox");

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        if (_host is IAsyncDisposable disposable)
        {
            await disposable.DisposeAsync();
        }
    }
}
