using System.Text;
using Dapper;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Publisher;
using Publisher.Outbox;
using Publisher.Sending;

namespace Broker.Tests.Interop;

/// <summary>
/// One life of the publisher without its network endpoints, over a real Postgres and pretended brokers.
/// </summary>
internal sealed class PublisherProcess : IAsyncDisposable
{
    private readonly IHost _host;

    private PublisherProcess(IHost host) => _host = host;

    public PublishIntake Intake => _host.Services.GetRequiredService<PublishIntake>();

    public T Part<T>()
        where T : notnull => _host.Services.GetRequiredService<T>();

    public static async Task<PublisherProcess> StartAsync(
        PostgresServer postgres, IBrokerPublisher brokers, Action<PublisherOptions>? configure = null)
    {
        var options = new PublisherOptions
        {
            DeadAfter = TimeSpan.FromMilliseconds(500),
            RelayInterval = TimeSpan.FromMilliseconds(100),
        };
        configure?.Invoke(options);
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddLogging(logging => logging.SetMinimumLevel(LogLevel.Warning));
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(_ => postgres.Connect());
        builder.Services.AddSingleton(brokers);
        builder.Services.AddOutbox();
        var host = builder.Build();
        await host.StartAsync();
        return new PublisherProcess(host);
    }

    public async Task<PublishAnswer> PublishAsync(string topic, string value, bool committed)
    {
        var message = new OutboxMessage(topic, new RecordBytes(default, Encoding.UTF8.GetBytes(value), default));
        var ticket = await Intake.SubmitAsync([message], committed, CancellationToken.None);
        return (await Intake.AnswerAsync(ticket, CancellationToken.None))[0];
    }

    public async Task<long> CountAsync(string where)
    {
        await using var connection = await Part<NpgsqlDataSource>().OpenConnectionAsync();
        return await connection.ExecuteScalarAsync<long>($"SELECT count(*) FROM outbox WHERE {where}");
    }

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        if (_host is IAsyncDisposable disposable)
        {
            await disposable.DisposeAsync();
        }
    }
}
