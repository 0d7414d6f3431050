using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Npgsql;
using Publisher.Outbox;
using Publisher.Sending;

namespace Publisher;

/// <summary>Registers the parts of the publisher, in the order of a message's way through them.</summary>
internal static class PublisherServices
{
    public static IServiceCollection AddPublisher(this IServiceCollection services, IConfiguration configuration)
    {
        services.Configure<PublisherOptions>(configuration.GetSection(PublisherOptions.Section));
        services.AddSingleton(provider => provider.GetRequiredService<IOptions<PublisherOptions>>().Value);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(_ => OpenDatabase(configuration.GetConnectionString("outbox")));
        services.AddSingleton<IBrokerPublisher, BrokerPublisher>();
        services.AddOutbox();
        services.AddHealthChecks().AddCheck<OutboxHealth>("outbox");
        return services;
    }

    /// <summary>All but the two outer worlds, Postgres and the brokers.</summary>
    public static IServiceCollection AddOutbox(this IServiceCollection services)
    {
        services.AddSingleton<PublisherMetrics>();
        services.AddSingleton<PublishIntake>();
        services.AddSingleton<SequenceBook>();
        services.AddSingleton<OutboxStore>();
        services.AddSingleton<LaneSender>();
        services.AddSingletonHosted<MarkQueue>();
        services.AddSingletonHosted<LaneTable>();
        services.AddSingletonHosted<OutboxWriter>();
        services.AddSingletonHosted<ProducerHeartbeat>();
        services.AddSingletonHosted<Relay>();
        services.AddSingletonHosted<OutboxRetention>();
        return services;
    }

    private static void AddSingletonHosted<T>(this IServiceCollection services)
        where T : class, IHostedService
    {
        services.AddSingleton<T>();
        services.AddHostedService(provider => provider.GetRequiredService<T>());
    }

    private static NpgsqlDataSource OpenDatabase(string? connectionString)
    {
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            throw new InvalidOperationException(
                "ConnectionStrings:outbox is not set. Set it to the publisher's Postgres database, e.g. "
                + "ConnectionStrings__outbox='Host=localhost;Username=postgres;Password=...;Database=outbox'.");
        }

        // Without Npgsql's own logging: it tells of every command at Information. Failures are logged by their callers.
        return NpgsqlDataSource.Create(connectionString);
    }

    private sealed class OutboxHealth(NpgsqlDataSource database) : IHealthCheck
    {
        public async Task<HealthCheckResult> CheckHealthAsync(
            HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            try
            {
                await using var command = database.CreateCommand("SELECT 1 FROM outbox LIMIT 1");
                await command.ExecuteScalarAsync(cancellationToken);
                return HealthCheckResult.Healthy();
            }
            catch (NpgsqlException e)
            {
                return HealthCheckResult.Unhealthy("The outbox cannot be reached.", e);
            }
        }
    }
}
