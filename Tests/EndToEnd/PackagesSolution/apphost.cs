#:sdk Aspire.AppHost.Sdk@13.6.4
#:package Aspire.Hosting.AppHost@13.6.5
#:package Broker.Aspire.Hosting@0.1.0
#:property NoWarn=ASPIRE010;ASPIRECSHARPAPPS001

var builder = DistributedApplication.CreateBuilder(args);
var messaging = builder.AddBroker("messaging", port: 7001).WithReplicas(3);
builder.AddCSharpApp("hello", "hello.cs").WithReference(messaging).WaitFor(messaging);
builder.Build().Run();
