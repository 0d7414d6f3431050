using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Npgsql;
using Subscriber.Following;
using Subscriber.Inbox;

namespace Subscriber;

/// <summary>Registers the parts of the subscriber, in the order of a message's way through them.</summary>
internal static class SubscriberServices
{
    public static IServiceCollection AddSubscriber(this IServiceCollection services, IConfiguration configuration)
    {
        services.Configure<SubscriberOptions>(configuration.GetSection(SubscriberOptions.Section));
        services.AddSingleton(provider => provider.GetRequiredService<IOptions<SubscriberOptions>>().Value);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(_ => OpenDatabase(configuration.GetConnectionString("inbox")));
        services.AddSingleton<IBrokerLog, BrokerLog>();
        services.AddInbox(configuration.GetConnectionString("cache"));
        services.AddHealthChecks().AddCheck<InboxHealth>("inbox");
        return services;
    }

    /// <summary>All but the outer worlds, Postgres and the brokers. Without a Redis connection string the log is all
    /// there is.
    /// </summary>
    public static IServiceCollection AddInbox(this IServiceCollection services, string? redis)
    {
        services.AddSingleton<SubscriberMetrics>();
        services.AddSingleton<LiveHealth>();
        services.AddSingleton<LiveReceiver>();
        services.AddSingleton<SubjectList>();
        services.AddSingleton<TopicTable>();
        services.AddSingleton<InboxQueue>();
        services.AddSingleton<InboxStore>();
        services.AddSingleton<InboxGrowth>();
        services.AddSingleton<InboxReader>();
        services.AddSingleton<Startup>();
        services.AddHostedService(provider => provider.GetRequiredService<Startup>());
        services.AddHostedService<InboxWriter>();
        services.AddHostedService<CatchUp>();
        services.AddHostedService<TopicPoll>();
        services.AddHostedService<LiveRegistration>();
        services.AddHostedService(provider => ActivatorUtilities.CreateInstance<RedisFeed>(provider, redis ?? ""));
        return services;
    }

    private static NpgsqlDataSource OpenDatabase(string? connectionString)
    {
        if (string.IsNullOrWhiteSpace(connectionString))
        {
            throw new InvalidOperationException(
                "ConnectionStrings:inbox is not set. Set it to the subscriber's Postgres database, e.g. "
                + "ConnectionStrings__inbox='Host=localhost;Username=postgres;Password=...;Database=inbox'.");
        }

        // Without Npgsql's own logging: it tells of every command at Information. Failures are logged by their callers.
        return NpgsqlDataSource.Create(connectionString);
    }

    private sealed class InboxHealth(NpgsqlDataSource database) : IHealthCheck
    {
        public async Task<HealthCheckResult> CheckHealthAsync(
            HealthCheckContext context, CancellationToken cancellationToken = default)
        {
            try
            {
                await using var command = database.CreateCommand("SELECT 1 FROM inbox LIMIT 1");
                await command.ExecuteScalarAsync(cancellationToken);
                return HealthCheckResult.Healthy();
            }
            catch (NpgsqlException e)
            {
                return HealthCheckResult.Unhealthy("The inbox cannot be reached.", e);
            }
        }
    }
}
