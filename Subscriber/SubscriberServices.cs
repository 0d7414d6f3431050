using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Subscriber.Following;
using Subscriber.Inbox;

namespace Subscriber;

/// <summary>Registers the parts of the subscriber, in the order of a message's way through them.</summary>
internal static class SubscriberServices
{
    private const string Redis = "cache";

    public static void AddSubscriber(this IHostApplicationBuilder builder)
    {
        var services = builder.Services;
        services.Configure<SubscriberOptions>(builder.Configuration.GetSection(SubscriberOptions.Section));
        services.AddSingleton(provider => provider.GetRequiredService<IOptions<SubscriberOptions>>().Value);
        services.AddSingleton(TimeProvider.System);
        builder.AddNpgsqlDataSource("inbox");
        services.AddSingleton<IBrokerLog, BrokerLog>();
        builder.AddInbox();
        services.AddHealthChecks().AddCheck<PollHealth>("brokers");
    }

    /// <summary>All but two outer worlds, Postgres and the brokers. Without a Redis the log is all there is.</summary>
    public static void AddInbox(this IHostApplicationBuilder builder)
    {
        var services = builder.Services;
        services.AddSingleton<SubscriberMetrics>();
        services.AddSingleton<LiveHealth>();
        services.AddSingleton<LiveReceiver>();
        services.AddSingleton<SubjectList>();
        services.AddSingleton<TopicTable>();
        services.AddSingleton<InboxQueue>();
        services.AddSingleton<InboxStore>();
        services.AddSingleton<InboxGrowth>();
        services.AddSingleton<InboxPages>();
        services.AddSingleton<InboxTail>();
        services.AddHostedService(provider => provider.GetRequiredService<InboxTail>());
        services.AddSingleton<InboxReader>();
        services.AddSingleton<PollHealth>();
        services.AddSingleton<Startup>();
        services.AddHostedService(provider => provider.GetRequiredService<Startup>());
        services.AddHostedService<InboxWriter>();
        services.AddHostedService<CatchUp>();
        services.AddHostedService<TopicPoll>();
        services.AddHostedService<LiveRegistration>();
        services.AddHostedService<RedisFeed>();
        if (!string.IsNullOrWhiteSpace(builder.Configuration.GetConnectionString(Redis)))
        {
            AddRedis(builder);
        }
    }

    private static void AddRedis(IHostApplicationBuilder builder)
    {
        builder.AddRedisClient(Redis, configureOptions: RedisFeed.Configure);
        builder.Services.Configure<HealthCheckServiceOptions>(options =>
        {
            foreach (var check in options.Registrations.Where(check => check.Name.StartsWith(
                "StackExchange.Redis", StringComparison.Ordinal)))
            {
                // Without Redis messages come later, and none is missing: the subscriber serves.
                check.FailureStatus = HealthStatus.Degraded;
                check.Timeout = SubscriberLimits.RedisCheck;
            }
        });
    }
}
