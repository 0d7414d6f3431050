using Broker.Client;
using Publisher;
using Publisher.Api;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults();
builder.AddGrpcEndpoint("Publisher:GrpcPort");

builder.Services.AddGrpc(options => options.MaxReceiveMessageSize = PublisherLimits.GrpcMessageBytes);
builder.Services.AddGrpcHealthChecks();
builder.Services.AddGrpcReflection();
builder.Services.AddBrokerClient("broker");
builder.AddPublisher();

var app = builder.Build();
app.MapDefaultEndpoints();
app.MapGrpcService<PublisherService>();
app.MapGrpcHealthChecksService();
app.MapGrpcReflectionService();
app.MapPublish();
app.Run();
