using Broker.ServiceDefaults;
using Broker.ServiceDefaults.Http;
using Subscriber;
using Subscriber.Api;

var builder = ServiceBuilder.Create(args);
builder.AddServiceDefaults();
builder.Services.AddStopGrace();
builder.AddGrpcEndpoint("Subscriber:GrpcPort");

builder.Services.AddGrpc();
builder.Services.AddGrpcHealthChecks();
builder.Services.AddGrpcReflection();

// The service tells by itself how its reading of the brokers goes (PollHealth).
builder.AddBrokerClient("broker", settings => settings.DisableHealthChecks = true);
builder.AddSubscriber();

var app = builder.Build();
app.UseMalformedMessages();
app.UseRequestProblems();
app.MapDefaultEndpoints();
app.MapGrpcService<SubscriberService>();
app.MapGrpcHealthChecksService();
app.MapGrpcReflectionService();
app.MapSubscriber();
app.Run();
