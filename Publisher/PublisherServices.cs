using Microsoft.Extensions.Options;
using Publisher.Outbox;
using Publisher.Sending;

namespace Publisher;

/// <summary>Registers the parts of the publisher, in the order of a message's way through them.</summary>
internal static class PublisherServices
{
    public static void AddPublisher(this IHostApplicationBuilder builder)
    {
        var services = builder.Services;
        services.Configure<PublisherOptions>(builder.Configuration.GetSection(PublisherOptions.Section));
        services.AddSingleton(provider => provider.GetRequiredService<IOptions<PublisherOptions>>().Value);
        services.AddSingleton(TimeProvider.System);
        builder.AddNpgsqlDataSource("outbox");
        services.AddSingleton<IBrokerPublisher, BrokerPublisher>();
        services.AddOutbox();
        services.AddHealthChecks().AddCheck<OutboxWriter>("outbox");
    }

    /// <summary>All but the two outer worlds, Postgres and the brokers.</summary>
    public static IServiceCollection AddOutbox(this IServiceCollection services)
    {
        services.AddSingleton<PublisherMetrics>();
        services.AddSingleton<PublishIntake>();
        services.AddSingleton<SequenceBook>();
        services.AddSingleton<OutboxStore>();
        services.AddSingleton<ProducerLife>();
        services.AddSingleton<OutboxMessages>();
        services.AddSingleton<LaneSender>();
        services.AddSingletonHosted<MarkQueue>();
        services.AddSingletonHosted<LaneTable>();
        services.AddSingletonHosted<Repetitions>();
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
}
