// The whole system. `./run` starts it; `--DataRoot=FOLDER` keeps its data somewhere else.
var builder = DistributedApplication.CreateBuilder(args);
var dataRoot = Path.GetFullPath(builder.Configuration["DataRoot"] ?? ".data", builder.AppHostDirectory);

// Live messages between brokers and subscribers. Never the truth: nobody waits for it, and losing it costs latency
// only.
var cache = builder.AddRedis("cache");

var postgres = builder.AddPostgres("postgres").WithDataBindMount(Path.Combine(dataRoot, "postgres"));
var outbox = postgres.AddDatabase("outbox");
var inbox = postgres.AddDatabase("inbox");

// Three named brokers, each with a disk of its own. They find each other by name, and start in any order.
List<IResourceBuilder<ProjectResource>> brokers = [];
for (var number = 1; number <= 3; number++)
{
    var name = $"broker-{number}";
    brokers.Add(AddService<Projects.Broker>(name, grpcPort: "Broker__GrpcPort")
        .WithEnvironment("Broker__NodeName", name)
        .WithEnvironment("Broker__DataDirectory", Path.Combine(dataRoot, name))
        .WithReference(cache));
}

foreach (var broker in brokers)
{
    AddBrokerAddresses(broker);
}

// Neither waits for the brokers: messages are stored in the outbox, and read from the log, when the brokers are there.
var publisher = AddService<Projects.Publisher>("publisher", grpcPort: "Publisher__GrpcPort")
    .WithExternalHttpEndpoints()
    .WithReference(outbox)
    .WaitFor(outbox);
AddBrokerAddresses(publisher);

var subjects = builder.Configuration["Subscriber:Subjects"] ?? ">";
var subscriber = AddService<Projects.Subscriber>("subscriber", grpcPort: "Subscriber__GrpcPort")
    .WithExternalHttpEndpoints()
    .WithEnvironment("Subscriber__Subjects__0", subjects)
    .WithReference(cache)
    .WithReference(inbox)
    .WaitFor(inbox);
AddBrokerAddresses(subscriber);

// Prometheus reads its targets from a file that is written when all ports are known.
var prometheusFolder = Path.Combine(dataRoot, "prometheus-config");
builder.AddContainer("prometheus", "prom/prometheus", "v3.5.0")
    .WithBindMount(prometheusFolder, "/etc/prometheus")
    .WithVolume("prometheus-data", "/prometheus")
    .WithArgs("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus")
    .WithHttpEndpoint(targetPort: 9090, name: "http")
    .WithHttpHealthCheck("/-/healthy")
    .OnBeforeResourceStarted((prometheus, _, token) => PrometheusTargets.WriteAsync(
        Path.Combine(builder.AppHostDirectory, "..", "deploy", "prometheus", "prometheus.yml"),
        prometheusFolder,
        [.. brokers, publisher, subscriber],
        prometheus,
        token));

builder.Build().Run();

// HTTP/1.1 and cleartext HTTP/2 cannot share a port, so every service has two: `http` and `grpc`.
IResourceBuilder<ProjectResource> AddService<TProject>(string name, string grpcPort)
    where TProject : IProjectMetadata, new() =>
    builder.AddProject<TProject>(name, launchProfileName: null)
        .WithHttpEndpoint(name: "http")
        .WithHttpEndpoint(name: "grpc", env: grpcPort)
        .WithEndpoint("grpc", endpoint => endpoint.Transport = "http2")
        .WithHttpHealthCheck("/health", endpointName: "http")
        .WithEnvironment("ASPNETCORE_ENVIRONMENT", builder.Environment.EnvironmentName);

// A broker is also given its own address: that is how the others, and clients, reach it.
void AddBrokerAddresses(IResourceBuilder<ProjectResource> service)
{
    foreach (var broker in brokers)
    {
        service.WithReference(broker.GetEndpoint("grpc"));
    }
}
