using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Http;
using Publisher;
using Publisher.Api;

var builder = ServiceBuilder.Create(args);
builder.AddServiceDefaults();
builder.Services.AddStopGrace();
builder.AddGrpcEndpoint("Publisher:GrpcPort");
builder.WebHost.ConfigureKestrel(kestrel => kestrel.RequestHeaderEncodingSelector = PublishEndpoint.EncodingOf!);

builder.Services.AddGrpc(options => options.MaxReceiveMessageSize = PublisherLimits.GrpcMessageBytes);
builder.Services.AddGrpcHealthChecks();
builder.Services.AddGrpcReflection();

// What waits for the brokers is kept in the outbox: the service works while they are away.
builder.AddBrokerClient("broker", settings => settings.DisableHealthChecks = true);
builder.AddPublisher();

var app = builder.Build();
app.UseMalformedMessages();
app.UseReceiveBudget(PublisherLimits.ReceivingBytes, PublishStatus.Receiving, "/publisher.v1.Publisher");
app.UseRequestProblems();
app.MapDefaultEndpoints();
app.MapGrpcService<PublisherService>();
app.MapGrpcHealthChecksService();
app.MapGrpcReflectionService();
app.MapPublish();
app.Run();
