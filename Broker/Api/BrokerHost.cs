using Broker.Cluster;
using Broker.Consensus;
using Broker.Delivery;
using Broker.Diagnostics;
using Broker.Domain;
using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Http;
using Broker.Storage;
using Broker.Transport;
using Grpc.Health.V1;
using Grpc.Reflection;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Configuration.Memory;
using Contract = Broker.Protocol.V1;
using GrpcServiceDescriptor = Google.Protobuf.Reflection.ServiceDescriptor;

namespace Broker.Api;

/// <summary>Puts the node together: settings, rooms, endpoints.</summary>
internal static class BrokerHost
{
    public static async Task<int> RunAsync(string[] args)
    {
        // A node without a cluster waits until it is taken in; one that was removed says so from then on.
        while (await WaitingHost.TryPassAsync(args))
        {
            var app = Build(args);
            var node = app.Services.GetRequiredService<BrokerNode>();
            await using var removed = node.Removed.Register(app.Lifetime.StopApplication);
            await app.RunAsync();
            if (!node.IsRemoved)
            {
                break;
            }
        }

        return Environment.ExitCode;
    }

    /// <summary>
    /// The whole node, ready to run; the benchmarks put an endpoint of their own beside it, and Broker.Testing gives it
    /// other surroundings than the machine's.
    /// </summary>
    internal static WebApplication Build(string[] args, NodeSurroundings? surroundings = null)
    {
        var builder = ServiceBuilder.Create(args);
        surroundings?.UseSettings(builder);
        // A publish is traced when its sender wants it: a trace of each would cost more than the publish.
        builder.AddServiceDefaults(beginsTraces: false, readsEnvFiles: surroundings is null);
        surroundings?.UseNothingOfTheProcess(builder);
        builder.Services.AddStopGrace();

        // The thread that a socket wakes reads the frames as well, and who flushes sends: one change of threads less
        // each way. Calls still run on the thread pool, and nothing here blocks.
        builder.Services.Configure<SocketTransportOptions>(
            static options => options.UnsafePreferInlineScheduling = true);
        builder.AddGrpcEndpoint("Broker:GrpcPort");
        builder.AddPeersPort(static provider => provider.GetRequiredService<BrokerNode>().Transport.Accept);
        AddNode(builder, surroundings?.Device ?? new PhysicalDevice(), surroundings?.Time ?? TimeProvider.System);
        builder.Services.AddGrpc(options =>
        {
            options.MaxReceiveMessageSize = Limits.GrpcMessageBytes;
            options.MaxSendMessageSize = Limits.GrpcMessageBytes;
        });
        builder.Services.AddGrpcHealthChecks();
        builder.Services.AddHttpApi();
        AddReflection(builder.Services);

        var app = builder.Build();
        app.UseMalformedMessages();
        app.UsePeersPort();
        PassTopicCallsOn(app);
        app.UseReceiveBudget(
            Limits.ReceivingBytes,
            static () => StatusMap.ToRpcException(
                Refusal.Overloaded("What this node is receiving", TimeSpan.FromMilliseconds(100))),
            "/broker.v1.Broker",
            "/broker.v1.Admin");
        app.Use(static async (context, next) =>
        {
            // The figures of groups are counted when somebody wants them.
            if (context.Request.Path == "/metrics")
            {
                await context.RequestServices.GetRequiredService<ConsumerGroupHost>()
                    .CountAsync(context.RequestAborted);
            }

            await next(context);
        });
        app.MapDefaultEndpoints();
        app.MapGrpcService<BrokerService>().RefuseUnimplemented();
        app.MapGrpcService<AdminService>().RefuseUnimplemented();
        app.MapGrpcService<PeerService>().RefuseUnimplemented();
        app.MapGrpcService<GroupPeerService>().RefuseUnimplemented();
        app.MapGrpcHealthChecksService();
        app.MapGrpcReflectionService();
        app.MapHttpApi();
        return app;
    }

    /// <summary>
    /// Of a dedicated controller; before the budget of what is received, as nothing of it is kept here.
    /// </summary>
    private static void PassTopicCallsOn(WebApplication app)
    {
        if (!app.Services.GetRequiredService<ClusterOptions>().HoldsTopics)
        {
            var calls = app.Services.GetRequiredService<TopicCalls>();
            app.Use((http, next) => TopicCalls.IsOne(http.Request) ? calls.PassOnAsync(http) : next(http));
        }
    }

    private static void AddNode(WebApplicationBuilder builder, IStorageDevice device, TimeProvider time)
    {
        var services = builder.Services;
        services.AddSingleton(time);
        services.AddSingleton(ClusterOptions.From(builder.Configuration, device));
        services.AddSingleton<BrokerMetrics>();
        services.AddSingleton(device);
        services.AddSingleton(new TailSignal());
        services.AddSingleton<GroupNews>();
        services.AddSingleton(MakeNode);
        AddLiveFanOut(builder);
        services.AddSingleton<DeadLetterTopics>();
        services.AddSingleton(static provider => new ConsumerGroupHost(
            provider.GetRequiredService<BrokerNode>(),
            provider.GetRequiredService<GroupNews>(),
            provider.GetRequiredService<TailSignal>(),
            provider.GetRequiredService<DeadLetterTopics>().MakeAsync,
            provider.GetRequiredService<IHostApplicationLifetime>(),
            provider.GetRequiredService<BrokerMetrics>().ConsumerGroups,
            provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<ILoggerFactory>()));
        services.AddSingleton(provider => provider.GetRequiredService<ConsumerGroupHost>().Router);
        services.AddSingleton(provider => provider.GetRequiredService<ConsumerGroupHost>().Service);
        services.AddSingleton<ReadCatchUp>();
        services.AddSingleton<ReadElsewhere>();
        services.AddSingleton<TopicReaders>();
        services.AddSingleton<LeaderDirectory>();
        services.AddSingleton<LeaderForwarder>();
        services.AddSingleton<TopicMaker>();
        services.AddSingleton<FirstPublishes>();
        services.AddSingleton<PublishRouter>();
        services.AddSingleton<AtomicPublisher>();
        services.AddSingleton<AdminForwarder>();
        services.AddSingleton<DataNodes>();
        services.AddSingleton<TopicCalls>();
        services.AddSingleton<GroupRegistry>();
        services.AddSingleton<GroupConsumers>();
        services.AddSingleton<GroupAdmin>();
        services.AddSingleton<DeadLetterAdmin>();
        services.AddSingleton<GroupPeeks>();
        services.AddSingleton<ClusterAdmin>();
        services.AddSingleton<TopicFinder>();
        services.AddSingleton<TopicAdmin>();
        services.AddSingleton<RecordAdmin>();
        services.AddSingleton<MetadataAdmin>();
        services.AddSingleton<BrokerService>();
        services.AddSingleton<AdminService>();
        services.AddSingleton(provider => new PeerService(provider.GetRequiredService<BrokerNode>().Transport));
        services.AddHostedService<NodeLifetime>();
        services.AddHealthChecks().AddCheck<GroupsHealthCheck>("groups");
    }

    private static BrokerNode MakeNode(IServiceProvider provider)
    {
        try
        {
            return OpenNode(provider);
        }
        catch (Exception exception) when (exception is StorageRefusedException or StorageCorruptException)
        {
            // A wrong or a damaged disk is for the operator to mend: one line, no stack trace.
            throw new StartupException(exception.Message, exception);
        }
    }

    private static BrokerNode OpenNode(IServiceProvider provider)
    {
        var tail = provider.GetRequiredService<TailSignal>();
        var live = provider.GetService<LiveFanOut>();
        var news = provider.GetRequiredService<GroupNews>();
        var metrics = provider.GetRequiredService<BrokerMetrics>();
        if (live is not null)
        {
            metrics.ObserveLive(() => new LiveFigures(live.PublishedBatches, live.DroppedBatches));
        }

        return new BrokerNode(
            provider.GetRequiredService<ClusterOptions>(),
            group => new ShardDelivery(group, tail, live, news.Of(group)),
            metadata => live?.SetSubscriptions(metadata.LiveSubscriptions.Values),
            provider.GetRequiredService<IStorageDevice>(),
            provider.GetRequiredService<TimeProvider>(),
            metrics,
            provider.GetRequiredService<ILoggerFactory>(),
            exception => Environment.FailFast($"The broker stops: {exception.Message}", exception));
    }

    /// <summary>
    /// Shows the public contract. The hot path's own descriptor has the same names with batches as bytes, and a tool
    /// that hears of both refuses them; the peers' service is nobody else's business.
    /// </summary>
    private static void AddReflection(IServiceCollection services)
    {
        GrpcServiceDescriptor[] contract = [Contract.Broker.Descriptor, Contract.Admin.Descriptor, Health.Descriptor];
        services.AddSingleton(new ReflectionV1ServiceImpl(contract));
        services.AddSingleton(new ReflectionServiceImpl(contract));
        services.AddGrpcReflection();
    }

    /// <summary>Without a Redis the brokers work as with one; subscribers then read from the log alone.</summary>
    private static void AddLiveFanOut(WebApplicationBuilder builder)
    {
        if (builder.Configuration.GetConnectionString("cache") is not { Length: > 0 } redis)
        {
            return;
        }

        builder.Services.AddSingleton(provider => new LiveFanOut(
            new LiveFanOutOptions { ConnectionString = redis },
            group => provider.GetRequiredService<BrokerNode>().Group(group).Status.Role == RaftRole.Leader,
            provider.GetRequiredService<ILogger<LiveFanOut>>(),
            provider.GetRequiredService<TimeProvider>()));
        builder.Services.AddHostedService(provider => provider.GetRequiredService<LiveFanOut>());
    }
}

/// <summary>
/// What a node has instead of the machine's own: nothing of the process's configuration and log reaches it.
/// </summary>
internal sealed record NodeSurroundings(
    IStorageDevice Device,
    TimeProvider Time,
    IReadOnlyDictionary<string, string?> Settings,
    Action<ILoggingBuilder> ConfigureLogging)
{
    public void UseSettings(WebApplicationBuilder builder)
    {
        var sources = ((IConfigurationBuilder)builder.Configuration).Sources;
        sources.Clear();
        sources.Add(new MemoryConfigurationSource { InitialData = Settings });
    }

    public void UseNothingOfTheProcess(WebApplicationBuilder builder)
    {
        builder.Logging.ClearProviders();
        ConfigureLogging(builder.Logging);
        builder.Services.AddSingleton<IHostLifetime, NoSignals>();
    }

    /// <summary>Ctrl-C and SIGTERM are for the process, which the host would keep alive.</summary>
    private sealed class NoSignals : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
