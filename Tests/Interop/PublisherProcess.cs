using System.Text;
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
using Microsoft.Extensions.Logging;
using Npgsql;
using Publisher;
using Publisher.Api;
using Publisher.Outbox;
using Publisher.Sending;

namespace Broker.Tests.Interop;

/// <summary>One life of the publisher, over a real Postgres and pretended brokers.</summary>
internal sealed class PublisherProcess : IAsyncDisposable
{
    private readonly WebApplication _host;

    private PublisherProcess(WebApplication host)
    {
        _host = host;
        var addresses = host.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses;
        Http = new HttpClient(Sockets()) { BaseAddress = new Uri(addresses.First()) };
        Grpc = GrpcChannel.ForAddress(addresses.Last());
    }

    public HttpClient Http { get; }

    public GrpcChannel Grpc { get; }

    public PublishIntake Intake => _host.Services.GetRequiredService<PublishIntake>();

    public T Part<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();

    public static async Task<PublisherProcess> StartAsync(
        PostgresServer postgres,
        IBrokerPublisher brokers,
        Action<PublisherOptions>? configure = null,
        int? postgresPort = null)
    {
        var options = new PublisherOptions
        {
            DeadAfter = TimeSpan.FromMilliseconds(500),
            RelayInterval = TimeSpan.FromMilliseconds(100),
        };
        configure?.Invoke(options);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddStopGrace();
        builder.WebHost.UseKestrel(kestrel =>
        {
            kestrel.RequestHeaderEncodingSelector = PublishEndpoint.EncodingOf!;
            kestrel.Listen(System.Net.IPAddress.Loopback, 0);
            kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddRouting();
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = PublisherLimits.GrpcMessageBytes);
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(_ => postgres.Connect(postgresPort));
        builder.Services.AddSingleton(brokers);
        builder.Services.AddOutbox();
        var host = builder.Build();
        host.UseMalformedMessages();
        host.UseReceiveBudget(PublisherLimits.ReceivingBytes, PublishStatus.Receiving, "/publisher.v1.Publisher");
        host.UseRequestProblems();
        host.MapGrpcService<PublisherService>();
        host.MapPublish();
        await host.StartAsync();
        var publisher = new PublisherProcess(host);
        await Eventually.HoldsAsync(publisher.IsReadyAsync, () => "the outbox is ready");
        return publisher;
    }

    public Task<PublishAnswer> PublishAsync(string topic, string value, bool committed) =>
        PublishAsync(topic, "", value, committed);

    public async Task<PublishAnswer> PublishAsync(string topic, string key, string value, bool committed)
    {
        var record = new RecordBytes(Encoding.UTF8.GetBytes(key), Encoding.UTF8.GetBytes(value), default);
        var message = new OutboxMessage(topic, record);
        var ticket = await Intake.SubmitAsync([message], committed, CancellationToken.None);
        return (await Intake.AnswerAsync(ticket, null, CancellationToken.None))[0];
    }

    public async Task<long> CountAsync(string where)
    {
        await using var connection = await Part<NpgsqlDataSource>().OpenConnectionAsync();
        return await connection.ExecuteScalarAsync<long>($"SELECT count(*) FROM outbox WHERE {where}");
    }

    /// <summary>Ends as after SIGTERM.</summary>
    public Task StopAsync() => _host.StopAsync();

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        Grpc.Dispose();
        await _host.StopAsync();
        await _host.DisposeAsync();
    }

    private async Task<bool> IsReadyAsync()
    {
        try
        {
            await CountAsync("false");
            return true;
        }
        catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.UndefinedTable)
        {
            return false;
        }
    }

    private static SocketsHttpHandler Sockets() =>
        new() { RequestHeaderEncodingSelector = (_, _) => Encoding.Latin1 };
}
