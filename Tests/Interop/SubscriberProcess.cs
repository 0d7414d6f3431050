using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Http;
using Dapper;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using Npgsql;
using Subscriber;
using Subscriber.Api;
using Subscriber.Following;

namespace Broker.Tests.Interop;

/// <summary>One life of the subscriber, over a real Postgres and pretended brokers.</summary>
internal sealed class SubscriberProcess : IAsyncDisposable
{
    private readonly WebApplication _host;

    private SubscriberProcess(WebApplication host)
    {
        _host = host;
        var addresses = host.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        Http = new HttpClient { BaseAddress = new Uri(addresses.First()) };
        Grpc = GrpcChannel.ForAddress(addresses.Last());
    }

    public HttpClient Http { get; }

    public GrpcChannel Grpc { get; }

    public T Part<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();

    public static Task<SubscriberProcess> StartAsync(
        PostgresServer postgres, IBrokerLog log, string? redis = null, params string[] subjects) =>
        StartAsync(
            postgres, log, redis, new SubscriberOptions { Subjects = subjects.Length == 0 ? [">"] : subjects });

    public static async Task<SubscriberProcess> StartAsync(
        PostgresServer postgres, IBrokerLog log, string? redis, SubscriberOptions options)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddStopGrace();
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.Listen(System.Net.IPAddress.Loopback, 0);
            kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddRouting();
        builder.Services.AddGrpc();
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(_ => postgres.Connect());
        builder.Services.AddSingleton(log);
        builder.Configuration["ConnectionStrings:cache"] = redis;
        builder.AddInbox();
        var host = builder.Build();
        host.UseMalformedMessages();
        host.UseRequestProblems();
        host.MapGrpcService<SubscriberService>();
        host.MapSubscriber();
        await host.StartAsync();
        await host.Services.GetRequiredService<Subscriber.Inbox.Startup>().Ready;
        return new SubscriberProcess(host);
    }

    /// <summary>Ends as after SIGTERM.</summary>
    public Task StopAsync() => _host.StopAsync();

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

    public async Task ExecuteAsync(string sql)
    {
        await using var connection = await Part<NpgsqlDataSource>().OpenConnectionAsync();
        await connection.ExecuteAsync(sql);
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
        Http.Dispose();
        Grpc.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
    }
}
